/** What the listener does with streams, with a client of Node's own in another thread: this one is kept busy. */
import { once } from "node:events";
import type { Http2ServerResponse } from "node:http2";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../log.js";
import { Connections } from "./connections.js";
import { type HttpServer, listen } from "./http.js";
import { UnknownSockets } from "./unknown-sockets.js";

/** Longer than the listener waits before it closes a stream whose request goes on. */
const busyMs = 130;
type Phase = (work: () => void) => void;
/** Of the event loop. */
const phases: Phase[] = [(work) => work(), (work) => void setImmediate(work), (work) => void setTimeout(work, 1)];

const limits = { keepaliveMs: 60_000, maxAgeMs: 60_000, idleMs: 60_000, unknownMs: 60_000, unknownPerAddress: 10 };
const log = createLogger("silent");
const connections = new Connections(limits, log);
let server: HttpServer;

beforeAll(async () => {
  server = await listen({
    address: { host: "127.0.0.1", port: 0 },
    handle: (request, nodeResponse) => {
      const response = nodeResponse as Http2ServerResponse;
      const [begin, end, busy] = [...(request.url ?? "").slice(1)].map((digit) => phases[Number(digit)] as Phase);
      begin?.(() => {
        response.writeHead(200);
        end?.(() => {
          response.addTrailers({ "grpc-status": "3" });
          response.end();
          busy?.(beBusy);
        });
      });
    },
    tls: undefined,
    connections,
    unknownSockets: new UnknownSockets(10, log),
    log,
  });
});
afterAll(() => server?.destroy());

function beBusy(): void {
  const untilMs = performance.now() + busyMs;
  while (performance.now() < untilMs);
}

/** Sends a request without an end to each path, all at once; posts the trailers of each. */
const client = `
  const { parentPort, workerData: { address, paths } } = require("node:worker_threads");
  const session = require("node:http2").connect("http://" + address);
  const answerOf = (path) => new Promise((resolve) => {
    const stream = session.request({ ":method": "POST", ":path": path });
    let trailers;
    stream.on("trailers", (headers) => { trailers = { ...headers }; });
    stream.on("close", () => resolve(trailers?.["grpc-status"]));
    stream.resume();
    stream.write("x");
  });
  (async () => {
    const answers = Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await answerOf(path)])));
    session.close();
    parentPort.postMessage(answers);
  })();
`;

test("a call's status reaches its client however busy the server is just then", async () => {
  const numbers = [...phases.keys()];
  const answered = numbers.flatMap((begin) => numbers.map((end) => `/${begin}${end}`));
  // Who is busy keeps others waiting that are not.
  const paths = answered.flatMap((path) => [path, ...numbers.map((busy) => `${path}${busy}`)]);
  const worker = new Worker(client, { eval: true, workerData: { address: server.address, paths } });
  const [answers] = await once(worker, "message");
  expect(answers).toEqual(Object.fromEntries(paths.map((path) => [path, "3"])));
});
