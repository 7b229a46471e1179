/** Clients with several addresses; over real connections, to servers that tell their names. */
import { once } from "node:events";
import * as net from "node:net";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServiceDefinition, status } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { ScanService } from "../gen/frostline/v1/scan_pb.js";
import {
  Health,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from "../gen/grpc/health/v1/health_pb.js";
import { type Client, createClient } from "./client.js";
import { parseServers } from "./servers.js";

/** What a server answers, by which the two are told apart. */
const { SERVING: first, NOT_SERVING: second } = HealthCheckResponse_ServingStatus;

const serialize = (response: HealthCheckResponse) => Buffer.from(toBinary(HealthCheckResponseSchema, response));
const codec = {
  requestSerialize: (request: Buffer) => request,
  requestDeserialize: (bytes: Buffer) => fromBinary(HealthCheckRequestSchema, bytes),
  responseSerialize: serialize,
  responseDeserialize: (bytes: Buffer) => fromBinary(HealthCheckResponseSchema, bytes),
};
const service = {
  check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false, ...codec },
  watch: { path: "/grpc.health.v1.Health/Watch", requestStream: false, responseStream: true, ...codec },
  push: { path: "/frostline.v1.ScanService/PushScan", requestStream: true, responseStream: false, ...codec },
} satisfies ServiceDefinition;

const opened: { close(): void }[] = [];
afterEach(() => {
  for (const { close } of opened.splice(0)) close();
});

interface NamedServer {
  address: string;
  calls: number;
  /** Calls fail so from now on. */
  refuse: { code: status; details: string } | undefined;
  /** As a process that dies. */
  close(): void;
}

async function startNamed(name: HealthCheckResponse_ServingStatus, port = 0): Promise<NamedServer> {
  const server = new Server();
  const answer = create(HealthCheckResponseSchema, { status: name });
  server.addService(service, {
    check(_: unknown, done: (error: { code: status; details: string } | null, value?: HealthCheckResponse) => void) {
      started.calls++;
      if (started.refuse) done(started.refuse);
      else done(null, answer);
    },
    // Never answered.
    push: (call: { resume(): void }) => call.resume(),
    watch: (call: { write(value: HealthCheckResponse): void }) => call.write(answer),
  });
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, at) => (error ? reject(error) : resolve(at)));
  });
  const started: NamedServer = { address: `127.0.0.1:${bound}`, calls: 0, refuse: undefined, close: () => server.forceShutdown() };
  opened.push(started);
  return started;
}

function connect(...servers: string[]): Client {
  const client = createClient({ server: servers.join(","), key: "fl_secret" });
  opened.push(client);
  return client;
}

async function ask(client: Client, signal?: AbortSignal): Promise<HealthCheckResponse_ServingStatus> {
  return (await client.unary(Health.method.check, {}, signal === undefined ? {} : { signal })).status;
}

/** Of a server that has gone. */
async function deadAddress(): Promise<string> {
  const server = await startNamed(first);
  server.close();
  return server.address;
}

test("addresses as they are written, and what is none", () => {
  expect(parseServers("a:1")).toEqual([{ target: "a:1", secure: false }]);
  expect(parseServers("https://a:1/, https://b:2")).toEqual([
    { target: "a:1", secure: true },
    { target: "b:2", secure: true },
  ]);
  for (const empty of ["", "a:1,", ",a:1", "a:1,,b:2"]) expect(() => parseServers(empty)).toThrow("is empty");
  expect(() => parseServers("https://a:1,b:2")).toThrow("only in part");
});

test("one that is not there is passed over, for calls of each kind", async () => {
  const [dead, server] = [await deadAddress(), await startNamed(second)];
  expect(await ask(connect(dead, server.address))).toBe(second);
  for await (const { status } of connect(dead, server.address).serverStream(Health.method.watch, {})) {
    expect(status).toBe(second);
    break;
  }
});

test("one that never answers is given up for the next", { timeout: 20_000 }, async () => {
  // Takes connections, and says nothing.
  const silent = net.createServer();
  const sockets: net.Socket[] = [];
  silent.on("connection", (socket) => sockets.push(socket));
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  opened.push({ close: () => void silent.close(() => {}) }, { close: () => sockets.forEach((socket) => void socket.destroy()) });
  const server = await startNamed(second);
  expect(await ask(connect(`127.0.0.1:${(silent.address() as net.AddressInfo).port}`, server.address))).toBe(second);
});

test("calls stay with one server as long as it answers, and go on with the other when it dies; back again when that dies", async () => {
  const [one, other] = [await startNamed(first), await startNamed(second)];
  const client = connect(one.address, other.address);
  expect([await ask(client), await ask(client)]).toEqual([first, first]);
  one.close();
  await expect.poll(() => ask(client).catch(() => undefined)).toBe(second);
  const again = await startNamed(first, Number(one.address.split(":")[1]));
  expect(await ask(client)).toBe(second);
  other.close();
  await expect.poll(() => ask(client).catch(() => undefined), { timeout: 15_000 }).toBe(first);
  expect(again.calls).toBeGreaterThan(0);
}, 30_000);

test("after UNAVAILABLE the next is asked; any other error is an answer, and the server stays", async () => {
  const [one, other] = [await startNamed(first), await startNamed(second)];
  const client = connect(one.address, other.address);
  one.refuse = { code: status.NOT_FOUND, details: "none" };
  await expect(ask(client)).rejects.toMatchObject({ code: "NOT_FOUND" });
  one.refuse = { code: status.UNAVAILABLE, details: "stopping" };
  await expect(ask(client)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(await ask(client)).toBe(second);
  // Nothing is sent twice by itself: whoever called knows whether it may be.
  expect([one.calls, other.calls]).toEqual([2, 1]);
});

test("a call that the caller ends says nothing of its server", async () => {
  const [one, other] = [await startNamed(first), await startNamed(second)];
  const client = connect(one.address, other.address);
  const stop = new AbortController();
  const watch = client.serverStream(Health.method.watch, {}, { signal: stop.signal })[Symbol.asyncIterator]();
  expect((await watch.next()).value?.status).toBe(first);
  stop.abort(new Error("enough"));
  await expect(watch.next()).rejects.toThrow("enough");
  const stream = client.clientStream(ScanService.method.pushScan);
  await stream.send({});
  stream.cancel();
  await expect(stream.finish()).rejects.toMatchObject({ code: "CANCELLED" });
  expect(await ask(client)).toBe(first);
});

test("when none is there the call says so, and an abort ends the search", async () => {
  await expect(ask(connect(await deadAddress(), await deadAddress()))).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "" });
  const stop = new Error("enough");
  await expect(ask(connect(await deadAddress(), await deadAddress()), AbortSignal.abort(stop))).rejects.toBe(stop);
});
