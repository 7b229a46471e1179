/** HTTP/2 that breaks its rules, and floods that keep them: the connection ends or goes on, and others are served meanwhile. */
import * as http2 from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createClient } from "../../src/agent/client.js";
import { PushScanRequestSchema } from "../../src/gen/frostline/v1/scan_pb.js";
import { ShareService } from "../../src/gen/frostline/v1/share_pb.js";
import { frame } from "../support/fuzz-encode.js";
import { callHeaders, flag, h2frame, hpack, preface, RawConnection, setting, type, uint32 } from "../support/fuzz-frames.js";
import { type FuzzWorld, openFuzzWorld } from "../support/fuzz-world.js";
import { createTestTenant, type TestTenant } from "../support/tenant.js";

const fateMs = 10_000;
/** A thousand calls that are reset at once take a second of a core before the connection is ended; on a machine with other things to do, several. */
const servedMs = 15_000;
const listShares = "/frostline.v1.ShareService/ListShares";
const emptyMessage = frame(Buffer.alloc(0));

let world: FuzzWorld;
let key: string;
let other: TestTenant;
beforeAll(async () => {
  world = await openFuzzWorld();
  key = world.server.keys.admin;
  other = await createTestTenant(world.database);
});
afterAll(() => world?.close());

const open: RawConnection[] = [];
afterEach(async () => {
  for (const connection of open.splice(0)) connection.destroy();
  await world.assertServing();
});

async function connect(settings?: Buffer): Promise<RawConnection> {
  const connection = await RawConnection.openHttp2(world.server.address, settings);
  open.push(connection);
  return connection;
}

const headersFrame = (stream: number, flags: number = flag.endHeaders, changed: Record<string, string | undefined> = {}) =>
  h2frame(type.headers, flags, stream, hpack(callHeaders(listShares, key, changed)));
const repeat = (count: number, part: Buffer) => Buffer.concat(new Array<Buffer>(count).fill(part));

/** What a call of another tenant takes, in ms; it must be answered. */
async function othersAreServed(): Promise<number> {
  const client = createClient({ server: world.server.address, key: other.keys.admin });
  const startMs = performance.now();
  await client.unary(ShareService.method.listShares, {}, { timeoutMs: servedMs });
  client.close();
  return performance.now() - startMs;
}

type Attack = [name: string, fate: "ended" | "alive", bytes: () => Buffer[]];

describe("frames that break the protocol", () => {
  test.each<Attack>([
    ["longer than agreed", "ended", () => [headersFrame(1), h2frame(type.data, 0, 1, Buffer.alloc(16_385))]],
    ["a length without bytes", "alive", () => [h2frame(type.ping, 0, 0, Buffer.alloc(8), 8)]],
    ["DATA of the connection", "ended", () => [h2frame(type.data, 0, 0, Buffer.from("x"))]],
    ["DATA of a stream that never was", "ended", () => [h2frame(type.data, 0, 5, Buffer.from("x"))]],
    ["HEADERS of the connection", "ended", () => [headersFrame(0)]],
    ["HEADERS of a stream of the server's", "ended", () => [headersFrame(2)]],
    ["streams in the wrong order", "alive", () => [headersFrame(5), headersFrame(3)]],
    ["CONTINUATION of nothing", "ended", () => [h2frame(type.continuation, flag.endHeaders, 1, hpack([["a", "b"]]))]],
    ["DATA between HEADERS and CONTINUATION", "ended", () => [headersFrame(1, 0), h2frame(type.data, 0, 1)]],
    ["CONTINUATION of another stream", "ended", () => [headersFrame(1, 0), h2frame(type.continuation, flag.endHeaders, 3)]],
    ["SETTINGS of five bytes", "ended", () => [h2frame(type.settings, 0, 0, Buffer.alloc(5))]],
    ["SETTINGS of a stream", "ended", () => [h2frame(type.settings, 0, 1, setting(3, 1))]],
    ["SETTINGS that acknowledge with a payload", "ended", () => [h2frame(type.settings, flag.ack, 0, setting(3, 1))]],
    ["a window of 2^32 - 1", "ended", () => [h2frame(type.settings, 0, 0, setting(4, 2 ** 32 - 1))]],
    ["frames of no bytes at most", "ended", () => [h2frame(type.settings, 0, 0, setting(5, 0))]],
    ["server push of 7", "ended", () => [h2frame(type.settings, 0, 0, setting(2, 7))]],
    ["unknown settings", "alive", () => [h2frame(type.settings, 0, 0, repeat(30, setting(0xfff0, 2 ** 32 - 1)))]],
    ["a window that grows by nothing", "ended", () => [h2frame(type.windowUpdate, 0, 0, uint32(0))]],
    ["a window that overflows", "ended", () => [repeat(3, h2frame(type.windowUpdate, 0, 0, uint32(2 ** 31 - 1)))]],
    ["a ping of seven bytes", "ended", () => [h2frame(type.ping, 0, 0, Buffer.alloc(7))]],
    ["a reset of three bytes", "ended", () => [headersFrame(1), h2frame(type.reset, 0, 1, Buffer.alloc(3))]],
    ["a reset of a stream that never was", "ended", () => [h2frame(type.reset, 0, 7, uint32(8))]],
    ["a promise of the client's", "ended", () => [h2frame(type.pushPromise, flag.endHeaders, 1, uint32(2))]],
    ["more padding than bytes", "ended", () => [headersFrame(1), h2frame(type.data, flag.padded, 1, Buffer.from([200, 0, 0]))]],
    ["frames of unknown types", "alive", () => [repeat(500, h2frame(0xee, 0xff, 1, Buffer.alloc(100)))]],
    ["an index out of the table", "ended", () => [h2frame(type.headers, flag.endHeaders, 1, Buffer.from([0xff, 0xff, 0x7f]))]],
    ["the index 0", "ended", () => [h2frame(type.headers, flag.endHeaders, 1, Buffer.from([0x80]))]],
    ["a table of 2^28 bytes", "ended", () => [h2frame(type.headers, flag.endHeaders, 1, Buffer.from([0x3f, 0xff, 0xff, 0xff, 0x7f]))]],
    ["an integer without an end", "ended", () => [h2frame(type.headers, flag.endHeaders, 1, Buffer.alloc(200, 0xff))]],
    [
      "Huffman that ends the text",
      "ended",
      () => [h2frame(type.headers, flag.endHeaders, 1, Buffer.from([0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0]))],
    ],
    ["headers cut off", "ended", () => [h2frame(type.headers, flag.endHeaders, 1, hpack([["name", "value"]]).subarray(0, 8))]],
    ["a preface of HTTP/1.1", "ended", () => [Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")]],
  ])("%s", async (_, fate, bytes) => {
    const connection = await connect();
    await connection.send(...bytes());
    expect(await connection.fate(fateMs)).toBe(fate);
    await othersAreServed();
  });

  test.each<[string, Buffer]>([
    ["HTTP/1.1", Buffer.from("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["the greeting of TLS", Buffer.from("16030100c8010000c40303".padEnd(400, "0"), "hex")],
    ["a preface cut off and something else", Buffer.concat([preface.subarray(0, 20), Buffer.alloc(100, 0xee)])],
    ["zeros", Buffer.alloc(100_000)],
  ])("a connection that begins with %s is ended", async (_, bytes) => {
    const connection = await RawConnection.open(world.server.address);
    open.push(connection);
    await connection.send(bytes);
    expect(await connection.fate(fateMs)).toBe("ended");
  });
});

describe("headers that make no request", () => {
  test.each<[string, Record<string, string | undefined>]>([
    ["no path", { ":path": undefined }],
    ["an empty path", { ":path": "" }],
    ["a path of nothing known", { ":path": "/../../etc/passwd" }],
    ["a path that is a host", { ":path": "//x/y" }],
    ["no method", { ":method": undefined }],
    ["a method of spaces", { ":method": "P O S T" }],
    ["CONNECT", { ":method": "CONNECT", ":path": undefined, ":scheme": undefined }],
    ["GET", { ":method": "GET" }],
    ["no host", { ":authority": undefined }],
    ["an empty host", { ":authority": "" }],
    ["a host that is none", { ":authority": "[" }],
    ["a host with a space", { ":authority": "a b" }],
    ["a host with a port out of range", { ":authority": "server:99999" }],
    ["a host with a user", { ":authority": "u:p@server" }],
    ["a name in capitals", { "X-Up": "1" }],
    ["an empty name", { "": "1" }],
    ["a name with a line break", { "a\r\nb": "1" }],
    ["a value with NUL", { "x-nul": "a\0b" }],
    ["a value with a line break", { "x-break": "a\r\nset-cookie: 1" }],
    ["an unknown pseudo-header", { ":status": "200" }],
    ["a header of the connection", { connection: "close" }],
    ["a length that is none", { "content-length": "-1" }],
    ["a length that is not that of the body", { "content-length": "7" }],
    ["no content type", { "content-type": undefined }],
    ["a content type of nothing known", { "content-type": "application/x-www-form-urlencoded" }],
    ["32 KiB in one header", { "x-long": "x".repeat(33_000) }],
  ])("%s: answered or reset, on a connection that goes on or ends", async (_, changed) => {
    const connection = await connect();
    await connection.send(headersFrame(1, flag.endHeaders, changed), h2frame(type.data, flag.endStream, 1, emptyMessage));
    const isOver = () =>
      connection.isClosed ||
      connection.frames.some((one) => one.stream === 1 && (one.type === type.reset || (one.flags & flag.endStream) !== 0)) ||
      connection.frames.some((one) => one.type === type.goaway);
    await expect.poll(isOver, { timeout: fateMs }).toBe(true);
    await othersAreServed();
  });
});

/** Each sends for as long as it is let. */
describe("floods: others are served while they last", () => {
  const frames = 20_000;
  test.each<Attack>([
    [
      "headers without an end, in CONTINUATIONs",
      "ended",
      () => [headersFrame(1, 0), repeat(frames, h2frame(type.continuation, 0, 1, hpack([["x", "y".repeat(100)]])))],
    ],
    ["empty CONTINUATIONs", "ended", () => [headersFrame(1, 0), repeat(frames, h2frame(type.continuation, 0, 1))]],
    [
      "a table entry named again and again",
      "alive",
      () => [
        headersFrame(1),
        h2frame(
          type.headers,
          flag.endHeaders | flag.endStream,
          3,
          Buffer.concat([hpack([["x", "z".repeat(4000)]], { indexed: true }), Buffer.alloc(12_000, 0xbe)]),
        ),
      ],
    ],
    [
      "streams that are reset at once",
      "ended",
      () => Array.from({ length: 5000 }, (_, n) => Buffer.concat([headersFrame(2 * n + 1), h2frame(type.reset, 0, 2 * n + 1, uint32(8))])),
    ],
    ["more streams than agreed", "ended", () => Array.from({ length: 2000 }, (_, n) => headersFrame(2 * n + 1))],
    ["pings", "alive", () => [repeat(frames, h2frame(type.ping, 0, 0, Buffer.alloc(8)))]],
    ["settings", "alive", () => [repeat(frames, h2frame(type.settings, 0, 0, setting(3, 100)))]],
    ["empty DATA", "alive", () => [headersFrame(1), repeat(frames, h2frame(type.data, 0, 1))]],
    ["priorities", "alive", () => [repeat(frames, h2frame(type.priority, 0, 1, Buffer.from([0, 0, 0, 3, 9])))]],
    ["windows that grow", "alive", () => [repeat(frames, h2frame(type.windowUpdate, 0, 0, uint32(1)))]],
    [
      "windows that shrink and grow",
      "alive",
      () => [
        headersFrame(1),
        repeat(frames / 4, Buffer.concat([h2frame(type.settings, 0, 0, setting(4, 0)), h2frame(type.settings, 0, 0, setting(4, 65_535))])),
      ],
    ],
  ])("%s", async (_, fate, bytes) => {
    const connection = await connect();
    const sent = connection.send(...bytes());
    expect(await othersAreServed()).toBeLessThan(servedMs);
    await sent;
    // A flood that keeps the rules may be let pass, or be too much.
    const ends = await connection.fate(fateMs);
    expect(fate === "ended" ? [fate] : ["ended", "alive"]).toContain(ends);
  });

  test("pings whose answers nobody reads", async () => {
    const connection = await connect();
    connection.socket.pause();
    const sent = connection.send(repeat(200_000, h2frame(type.ping, 0, 0, Buffer.alloc(8))));
    expect(await othersAreServed()).toBeLessThan(servedMs);
    await Promise.race([sent, connection.closed, othersAreServed()]);
  });
});

describe("slow and silent clients", () => {
  test("a request that comes byte by byte is refused in time", async () => {
    const connection = await connect();
    await connection.send(headersFrame(1));
    const timer = setInterval(() => void connection.send(h2frame(type.data, 0, 1, Buffer.from([0]))), 500);
    const answered = () =>
      connection.frames.some((one) => one.stream === 1 && one.type === type.headers && (one.flags & flag.endStream) !== 0);
    await expect
      .poll(answered, { timeout: fateMs })
      .toBe(true)
      .finally(() => clearInterval(timer));
  });

  test("a stream that was opened and cut in the middle of a message, its client gone, leaves nothing", async () => {
    const openMessage = toBinary(
      PushScanRequestSchema,
      create(PushScanRequestSchema, { message: { case: "open", value: { scanId: 1n, writer: "w" } } }),
    );
    for (const end of ["destroy", "end", "resetAndDestroy"] as const) {
      const connection = await connect();
      await connection.send(h2frame(type.headers, flag.endHeaders, 1, hpack(callHeaders("/frostline.v1.ScanService/PushScan", key))));
      await connection.send(h2frame(type.data, 0, 1, Buffer.concat([frame(openMessage), Buffer.from([0, 0, 1])])));
      connection.socket[end]();
    }
  });

  test("answers that nobody takes hold up nobody else", async () => {
    const slow = await connect(setting(4, 0));
    for (let stream = 1; stream < 160; stream += 2)
      await slow.send(headersFrame(stream), h2frame(type.data, flag.endStream, stream, emptyMessage));
    for (let n = 0; n < 5; n++) expect(await othersAreServed()).toBeLessThan(servedMs);
    expect(await slow.fate(fateMs)).toBe("alive");
  });

  test("messages that come byte by byte, and never to their end, take neither time nor memory", async () => {
    const before = (await world.memory()).resident;
    const connections = await Promise.all([connect(), connect(), connect()]);
    // The one asks for no key and takes little; the other takes 4 MiB, and has sent all but a part.
    const reflection = hpack(callHeaders("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", key, { authorization: undefined }));
    const push = hpack(callHeaders("/frostline.v1.ScanService/PushScan", key));
    const head = (bytes: number) => Buffer.concat([Buffer.from([0]), uint32(bytes)]);
    for (const [n, connection] of connections.entries()) {
      for (let stream = 1; stream < 80; stream += 2) {
        const isPush = n > 0;
        await connection.send(h2frame(type.headers, flag.endHeaders, stream, isPush ? push : reflection));
        await connection.send(h2frame(type.data, 0, stream, head(isPush ? 4 * 1024 * 1024 : 64 * 1024)));
      }
    }
    for (let round = 0; round < 300; round++) {
      for (const connection of connections)
        for (let stream = 1; stream < 80; stream += 2) await connection.send(repeat(10, h2frame(type.data, 0, stream, Buffer.from([1]))));
      if (round % 100 === 0) expect(await othersAreServed()).toBeLessThan(servedMs);
    }
    for (const connection of connections) expect(await connection.fate(fateMs)).toBe("alive");
    expect((await world.memory()).resident - before).toBeLessThan(200 * 1024 * 1024);
  });

  test("messages of which all but the end has come take so much memory, and no more", async () => {
    const before = (await world.memory()).resident;
    const session = http2.connect(`http://${world.server.address}`, { maxSessionMemory: 1000 });
    const headers = Object.fromEntries(
      callHeaders("/frostline.v1.ScanService/PushScan", key, { ":authority": undefined, ":scheme": undefined }),
    );
    let refused = 0;
    for (let n = 0; n < 80; n++) {
      const stream = session.request(headers);
      stream.on("error", () => {});
      const count = (answer: http2.IncomingHttpHeaders) => {
        if (answer["grpc-status"] === "8") refused += 1;
      };
      stream.on("response", count);
      stream.on("trailers", count);
      stream.resume();
      stream.write(Buffer.concat([Buffer.from([0]), uint32(4 * 1024 * 1024), Buffer.alloc(2 * 1024 * 1024)]));
    }
    // Of 64 MiB: 80 times 2 MiB, or what they have grown to.
    await expect.poll(() => refused, { timeout: fateMs }).toBeGreaterThan(40);
    expect(await othersAreServed()).toBeLessThan(servedMs);
    expect((await world.memory()).resident - before).toBeLessThan(250 * 1024 * 1024);
    session.destroy();
  });

  test("a message of a call without a key is refused at its head beyond 64 KiB", async () => {
    const connection = await connect();
    await connection.send(h2frame(type.headers, flag.endHeaders, 1, hpack(callHeaders("/grpc.health.v1.Health/Check", key))));
    await connection.send(h2frame(type.data, 0, 1, Buffer.concat([Buffer.from([0]), uint32(64 * 1024 + 1)])));
    const isAnswered = () => connection.frames.some((one) => one.stream === 1 && (one.flags & flag.endStream) !== 0);
    await expect.poll(isAnswered, { timeout: fateMs }).toBe(true);
  });

  test("compressed messages that unpack to a gigabyte take no memory", async () => {
    const before = (await world.memory()).resident;
    const request = { method: "frostline.v1.ShareService/ListShares", transport: "grpc", base: 0, edits: [] } as const;
    for (const encoding of ["gzip", "br"]) {
      const bombs = Array.from({ length: 8 }, () =>
        world.send({ ...request, edits: [], damage: { kind: "compressed", encoding, content: "bomb" } }),
      );
      for (const { status } of await Promise.all(bombs)) expect(status).toBe("RESOURCE_EXHAUSTED");
    }
    expect((await world.memory()).resident - before).toBeLessThan(300 * 1024 * 1024);
  });
});

test("after all that data is as it must be, and whoever keeps the rules is served", () => world.assertSound());
