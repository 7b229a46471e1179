/** What the listener does with streams, with a client of Node's own in another thread: this one is kept busy. */
import { once } from "node:events";
import { connect, type Http2ServerResponse, type ServerHttp2Stream } from "node:http2";
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
/** Streams of requests that nobody reads. */
const unread: ServerHttp2Stream[] = [];

beforeAll(async () => {
  server = await listen({
    address: { host: "127.0.0.1", port: 0 },
    handle: (request, nodeResponse) => {
      if (request.url === "/unread") return void unread.push((nodeResponse as Http2ServerResponse).stream);
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

test("of what is not read a stream sends 64 KiB, and 256 once a call on its connection has shown a key, however many streams there are", async () => {
  const session = connect(`http://${server.address}`);
  const piece = Buffer.alloc(4096);
  let sent = 0;
  for (let n = 0; n < 20; n++) {
    const stream = session.request({ ":method": "POST", ":path": "/unread" });
    stream.on("error", () => {});
    const send = () =>
      stream.write(piece, (error) => {
        if (error) return;
        sent += piece.length;
        send();
      });
    send();
  }
  const held = () => unread.reduce((sum, { readableLength }) => sum + readableLength, 0);
  // Whatever is sent arrives before the answer to a ping that is sent after it.
  const settled = async () => {
    let before: number;
    do {
      before = sent;
      await new Promise((resolve) => session.ping(resolve));
    } while (sent > before);
    return held();
  };
  await expect.poll(settled).toBe(20 * 65_535);
  connections.known(unread[0] as ServerHttp2Stream);
  await expect.poll(settled).toBe(20 * 256 * 1024);
  session.destroy();
});
