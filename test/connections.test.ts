/** Connections that are dead or old, and streams that nobody ends. */
import { once } from "node:events";
import * as http2 from "node:http2";
import * as net from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { FileService } from "../src/gen/frostline/v1/file_pb.js";
import { ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { HealthCheckRequestSchema } from "../src/gen/grpc/health/v1/health_pb.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { type LocalServer, spawnServer, startTestServer } from "./support/server.js";
import { chunk, file, listing } from "./support/streams.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

let database: TestDatabase;
let tenant: TestTenant;

beforeAll(async () => {
  database = await createTestDatabase();
  tenant = await createTestTenant(database);
});
afterAll(() => database?.drop());

const start = (env: Record<string, string> = {}): Promise<LocalServer> => startTestServer({ database, tenant, env });

function open(
  session: http2.ClientHttp2Session,
  path: string,
  { key = tenant.keys.agent, ...headers }: { key?: string; "grpc-timeout"?: string } = {},
): http2.ClientHttp2Stream {
  return session.request({
    ...headers,
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${key}`,
  });
}

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function watchHealth(session: http2.ClientHttp2Session): http2.ClientHttp2Stream {
  const stream = open(session, "/grpc.health.v1.Health/Watch");
  stream.end(frame(toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema))));
  return stream;
}

test("an old connection is told to go elsewhere, and its streams go on", async () => {
  const server = await start({ FROSTLINE_CONNECTION_MAX_AGE_SECONDS: "1" });
  const session = http2.connect(`http://${server.address}`);
  const stream = watchHealth(session);
  await once(stream, "data");
  const [code] = await once(session, "goaway");
  expect(code).toBe(http2.constants.NGHTTP2_NO_ERROR);
  expect(stream.closed).toBe(false);
  // The stream is heard to its end: what a stopping server says comes over the old connection.
  const trailers = once(stream, "trailers");
  const told = once(stream, "data");
  const closed = server.close();
  expect((await told)[0].at(-1)).toBe(2);
  expect((await trailers)[0]["grpc-status"]).toBe("14");
  await closed;
  session.destroy();
});

test("a connection that does not answer pings is dropped, one that does is kept", async () => {
  const server = await start({ FROSTLINE_KEEPALIVE_SECONDS: "1" });
  const [host, port] = server.address.split(":") as [string, string];
  const dead = net.connect(Number(port), host);
  dead.on("error", () => {});
  dead.resume();
  // The preface and empty settings, and then not a word more.
  dead.write(Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])]));
  const session = http2.connect(`http://${server.address}`);
  const stream = watchHealth(session);
  await once(stream, "data");
  let pings = 0;
  session.on("ping", () => pings++);
  await once(dead, "close");
  await expect.poll(() => pings, { timeout: 5_000 }).toBeGreaterThan(2);
  expect([session.destroyed, stream.closed]).toEqual([false, false]);
  stream.close();
  session.close();
  await server.close();
});

test("a drain after oversize messages, whose clients go on sending, completes", async () => {
  const server = await start();
  const session = http2.connect(`http://${server.address}`);
  session.on("error", () => {});
  const oversize = Buffer.alloc(5);
  oversize.writeUInt32BE(5 * 1024 * 1024, 1);
  const streams = Array.from({ length: 8 }, () => open(session, "/frostline.v1.ScanService/PushScan"));
  for (const stream of streams) {
    stream.on("error", () => {});
    stream.resume();
    stream.write(Buffer.concat([oversize, Buffer.alloc(64 * 1024)]));
  }
  const trailers = await Promise.all(streams.map((stream) => once(stream, "trailers")));
  for (const [trailer] of trailers) expect(trailer["grpc-status"]).toBe("8");
  await expect.poll(() => server.openCalls()).toBe(0);
  const startMs = performance.now();
  await server.close();
  expect(performance.now() - startMs).toBeLessThan(5_000);
  session.destroy();
});

test("a client that goes away while its answer waits for room leaves nothing that keeps the process", async () => {
  const server = await spawnServer({ database, tenant });
  const client = createClient({ server: server.address, key: tenant.keys.admin });
  await client.unary(ShareService.method.createShare, { shareName: "long names", sourceType: SourceType.NTFS });
  const { scan } = await client.unary(ScanService.method.startScan, { shareName: "long names", mode: ScanMode.FULL });
  const scanId = scan?.scanId as bigint;
  const push = await client.clientStream(ScanService.method.pushScan);
  await push.send({ message: { case: "open", value: { scanId, writer: "main" } } });
  const files = Array.from({ length: 1000 }, (_, n) => file(`${n} ${"long ".repeat(40)}`, 1n));
  await push.send({ message: { case: "chunk", value: chunk(0, [listing("/", files)]) } });
  await push.finish();
  client.close();
  const session = http2.connect(`http://${server.address}`);
  const { listFiles } = FileService.method;
  // Longer than anything here takes: whoever keeps its timer keeps the process.
  const answer = open(session, "/frostline.v1.FileService/ListFiles", { key: tenant.keys.admin, "grpc-timeout": "1H" });
  answer.end(frame(toBinary(listFiles.input, create(listFiles.input, { shareName: "long names", pageSize: 1000 }))));
  const [headers] = await once(answer, "response");
  expect(headers[":status"]).toBe(200);
  // A window of 64 KiB is full, nobody reads, and the end is no error.
  answer.close(http2.constants.NGHTTP2_NO_ERROR);
  await once(answer, "close");
  session.destroy();
  await server.close();
  expect(await server.exited).toBe(0);
  expect(server.output()).not.toContain("something keeps its process");
});

test("who takes no answer to calls that are refused keeps no stream", { timeout: 30_000 }, async () => {
  const server = await start();
  const session = http2.connect(`http://${server.address}`, { settings: { initialWindowSize: 0 } });
  const paths = ["/frostline.v1.ShareService/GetShare", "/frostline.v1.ScanService/PushScan", "/nobody/knows"];
  const closed = paths.flatMap((path) =>
    ["application/json", "application/proto", "application/connect+proto", "application/grpc", "application/grpc-web"].map((type) => {
      const stream = session.request({ ":method": "POST", ":path": path, "content-type": type, authorization: "Bearer nobody's" });
      stream.on("error", () => {});
      stream.write("the beginning of a request");
      return once(stream, "close");
    }),
  );
  await Promise.all(closed);
  session.close();
  await server.close();
});
