/** What callers may take at once, and that it comes free again however a call ends. */
import { once } from "node:events";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as net from "node:net";
import { create, type DescMethod, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Client, createClient } from "../src/agent/client.js";
import { runScan } from "../src/agent/push.js";
import { decodeStatusDetails } from "../src/agent/status-details.js";
import { type Chunk, ScanMode, ScanService, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { WarmingService } from "../src/gen/frostline/v1/warming_pb.js";
import { Health } from "../src/gen/grpc/health/v1/health_pb.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { type LocalServer, startTestServer } from "./support/server.js";
import { chunk, file, listing } from "./support/streams.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

const { listShares, createShare } = ShareService.method;
let database: TestDatabase;
let tenant: TestTenant;
let other: TestTenant;

beforeAll(async () => {
  database = await createTestDatabase();
  tenant = await createTestTenant(database);
  other = await createTestTenant(database);
});
afterAll(async () => {
  // Each test's server has been closed.
  await expectNothingLeft(database, { served: false });
  await database.drop();
});

/** Goes with the test. */
async function start(env: Record<string, string>): Promise<LocalServer> {
  const server = await startTestServer({ database, tenant, env });
  onTestFinished(() => server.close());
  return server;
}

function connect(server: LocalServer, key = tenant.keys.admin): Client {
  const client = createClient({ server: server.address, key });
  onTestFinished(() => client.close());
  return client;
}

/** Over a connection of the test's own. */
function session({ address }: LocalServer, localAddress?: string): http2.ClientHttp2Session {
  const [host, port] = address.split(":") as [string, string];
  const createConnection = () => net.connect({ host, port: Number(port), ...(localAddress === undefined ? {} : { localAddress }) });
  const found = http2.connect(`http://${address}`, { createConnection });
  found.on("error", () => {});
  onTestFinished(() => found.destroy());
  return found;
}

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function open(on: http2.ClientHttp2Session, { parent, name }: DescMethod, key?: string): http2.ClientHttp2Stream {
  const headers = { ":method": "POST", ":path": `/${parent.typeName}/${name}`, "content-type": "application/grpc", te: "trailers" };
  const stream = on.request(key === undefined ? headers : { ...headers, authorization: `Bearer ${key}` });
  stream.on("error", () => {});
  stream.resume();
  return stream;
}

/** How a call ends. */
async function ending(stream: http2.ClientHttp2Stream): Promise<{ status: string } & ReturnType<typeof decodeStatusDetails>> {
  const trailers = once(stream, "trailers");
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
  const [end] = headers["grpc-status"] === undefined ? ((await trailers) as [http2.IncomingHttpHeaders]) : [headers];
  return {
    status: String(end["grpc-status"]),
    ...decodeStatusDetails(Buffer.from(String(end["grpc-status-details-bin"] ?? ""), "base64")),
  };
}

async function grpcCall(on: http2.ClientHttp2Session, key: string) {
  const stream = open(on, listShares, key);
  stream.end(frame(Buffer.alloc(0)));
  return ending(stream);
}

interface Watch {
  end(): Promise<void>;
}

/** A stream that is open once this resolves. */
async function watch(client: Client): Promise<Watch> {
  const messages = client.serverStream(WarmingService.method.watchWarming, {})[Symbol.asyncIterator]();
  await messages.next();
  return { end: async () => void (await messages.return?.()) };
}

const encode = <Method extends DescMethod>(method: Method, message: MessageInitShape<Method["input"]>) =>
  frame(toBinary(method.input, create(method.input, message)));

describe("streams", () => {
  test("of a tenant and in all are bounded; the next is told when to come, and unary calls go on", async () => {
    const server = await start({ FROSTLINE_TENANT_STREAMS: "2", FROSTLINE_STREAMS: "3" });
    const [mine, others] = [connect(server), connect(server, other.keys.admin)];
    const first = await watch(mine);
    await watch(mine);
    const refusal = (of: string, limit: string) => ({
      code: "RESOURCE_EXHAUSTED",
      reason: "TOO_MANY_STREAMS",
      metadata: { of, limit },
      retryDelayMs: 5000,
    });
    await expect(watch(mine)).rejects.toMatchObject(refusal("tenant", "2"));
    await watch(others);
    await expect(watch(others)).rejects.toMatchObject(refusal("server", "3"));
    await mine.unary(listShares, {});
    await first.end();
    await expect
      .poll(() =>
        watch(others).then(
          () => "open",
          (error) => error.reason,
        ),
      )
      .toBe("open");
    const { text } = await server.metrics.read();
    expect(text).toMatch(/^frostline_limited_calls_total\{reason="TOO_MANY_STREAMS",of="tenant"\} [1-9]/m);
  });

  test("without a key are bounded by address", async () => {
    const server = await start({ FROSTLINE_TENANT_STREAMS: "2" });
    const own = session(server);
    const watchHealth = (on: http2.ClientHttp2Session) => {
      const stream = open(on, Health.method.watch);
      stream.end(encode(Health.method.watch, {}));
      return stream;
    };
    await Promise.all([1, 2].map(() => once(watchHealth(own), "data")));
    expect(await ending(watchHealth(own))).toMatchObject({ status: "8", reason: "TOO_MANY_STREAMS" });
    await once(watchHealth(session(server, "127.0.0.2")), "data");
    await watch(connect(server));
  });

  test.each<[string, (server: LocalServer, on: http2.ClientHttp2Session) => Promise<unknown>]>([
    [
      "the client resets it",
      async (_, on) => {
        const stream = open(on, ScanService.method.pushScan, tenant.keys.agent);
        stream.write(Buffer.alloc(1));
        await new Promise((resolve) => on.ping(resolve));
        stream.close(http2.constants.NGHTTP2_CANCEL);
      },
    ],
    [
      "the client's connection breaks",
      async (_, on) => {
        open(on, ScanService.method.pushScan, tenant.keys.agent).write(Buffer.alloc(1));
        await new Promise((resolve) => on.ping(resolve));
        on.destroy();
      },
    ],
    [
      "it fails",
      async (_, on) => {
        const stream = open(on, ScanService.method.pushScan, tenant.keys.agent);
        stream.end(encode(ScanService.method.pushScan, { message: { case: "open", value: { scanId: 1n << 60n, writer: "main" } } }));
        expect(await ending(stream)).toMatchObject({ status: "5" });
      },
    ],
    [
      "it is refused for its scope",
      async (_, on) => expect(await ending(open(on, ScanService.method.pushScan, tenant.keys.reader))).toMatchObject({ status: "7" }),
    ],
    [
      "its deadline is over",
      async (_, on) => {
        const { watchWarming } = WarmingService.method;
        const path = `/${watchWarming.parent.typeName}/${watchWarming.name}`;
        const headers = { "content-type": "application/grpc", te: "trailers", authorization: `Bearer ${tenant.keys.reader}` };
        const stream = on.request({ ":method": "POST", ":path": path, ...headers, "grpc-timeout": "100m" });
        stream.resume();
        stream.end(encode(watchWarming, {}));
        await once(stream, "close");
      },
    ],
  ])("one's place comes free when %s", async (_, end) => {
    const server = await start({ FROSTLINE_TENANT_STREAMS: "1" });
    await end(server, session(server));
    await expect
      .poll(
        () =>
          watch(connect(server)).then(
            () => "open",
            (error) => error.reason,
          ),
        { timeout: 5000 },
      )
      .toBe("open");
  });

  test("an agent that is told to come later does, and its scan is whole", async () => {
    const server = await start({ FROSTLINE_TENANT_STREAMS: "1" });
    const client = connect(server);
    await client.unary(createShare, { shareName: "patient", sourceType: SourceType.NTFS });
    const held = await watch(client);
    let refusedMs = 0;
    const scan = runScan(connect(server), {
      shareName: "patient",
      mode: ScanMode.FULL,
      uniqueFrn: false,
      exactListTimes: true,
      resume: "auto",
      retry: { baseDelayMs: 1 },
      async *source(): AsyncGenerator<Chunk> {
        yield chunk(0, [listing("/", [file("a"), file("b")])]);
      },
      onProgress({ state }) {
        if (state !== "reconnecting" || refusedMs > 0) return;
        refusedMs = performance.now();
        void held.end();
      },
    });
    const { scan: finished, stats } = await scan;
    expect(finished).toMatchObject({ status: ScanStatus.OK, counts: { files: 2n } });
    expect(stats.reconnects).toBe(1);
    expect(performance.now() - refusedMs).toBeGreaterThan(4900);
  });
});

/** Runs `work` while every read of shares has to wait. */
async function whileSharesAreLocked(work: () => Promise<void>): Promise<void> {
  await withClient(database.superuserUrl, async (client) => {
    await client.query("BEGIN; LOCK TABLE share IN ACCESS EXCLUSIVE MODE");
    try {
      await work();
    } finally {
      await client.query("ROLLBACK");
    }
  });
}

/** Statements of ListShares that wait for a lock; background jobs read shares as well. */
async function waitingStatements(): Promise<number> {
  return withClient(database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ waiting: number }>(
      `SELECT count(*)::integer AS waiting FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'frostline' AND wait_event_type = 'Lock'
         AND query LIKE '%FROM share WHERE tenant_id = $1 ORDER BY share_name'`,
    );
    return rows[0]?.waiting as number;
  });
}

describe("unary calls", () => {
  test("under way are bounded, and end with their client or their deadline, in the database as well", async () => {
    const server = await start({ FROSTLINE_TENANT_CALLS: "3", FROSTLINE_CALLS: "4", FROSTLINE_CALL_DEADLINE_SECONDS: "5" });
    const [client, others] = [connect(server), connect(server, other.keys.admin)];
    await Promise.all([client.unary(listShares, {}), others.unary(listShares, {})]);
    await whileSharesAreLocked(async () => {
      const gone = new AbortController();
      const calls = [
        client.unary(listShares, {}, { signal: gone.signal }),
        client.unary(listShares, {}, { timeoutMs: 4500 }),
        // Names none, so the server does.
        grpcCall(session(server), tenant.keys.reader),
      ].map((call) => call.catch((error) => error));
      await expect.poll(waitingStatements).toBe(3);
      await expect(client.unary(listShares, {})).rejects.toMatchObject({
        code: "RESOURCE_EXHAUSTED",
        reason: "TOO_MANY_CALLS",
        metadata: { of: "tenant", limit: "3" },
        retryDelayMs: 1000,
      });
      const last = others.unary(listShares, {}, { timeoutMs: 3500 }).catch((error) => error);
      await expect.poll(waitingStatements).toBe(4);
      await expect(others.unary(listShares, {})).rejects.toMatchObject({ metadata: { of: "server", limit: "4" } });
      gone.abort(new Error("gone"));
      await expect.poll(waitingStatements).toBe(3);
      expect(await calls[1]).toMatchObject({ code: "DEADLINE_EXCEEDED" });
      expect(await last).toMatchObject({ code: "DEADLINE_EXCEEDED" });
      expect(await calls[2]).toMatchObject({ status: "4" });
      // Long before the lock's own timeout.
      await expect.poll(waitingStatements, { timeout: 3000 }).toBe(0);
    });
    await Promise.all(Array.from({ length: 3 }, () => client.unary(listShares, {})));
  });

  test("whose request comes drop by drop end", async () => {
    const server = await start({ FROSTLINE_REQUEST_SECONDS: "1", FROSTLINE_TENANT_CALLS: "1" });
    const own = session(server);
    const slow = open(own, listShares, tenant.keys.reader);
    slow.write(Buffer.alloc(3));
    expect(await ending(slow)).toMatchObject({ status: "4" });
    await expect.poll(async () => (await grpcCall(own, tenant.keys.reader)).status).toBe("0");
  });
});

describe("who has no key", () => {
  test("is refused before the body is read", async () => {
    const server = await start({ FROSTLINE_HTTP_LISTEN: "127.0.0.1:0" });
    const stream = open(session(server), listShares);
    let takenBytes = 0;
    stream.write(frame(Buffer.alloc(16 * 1024 * 1024)).subarray(0, 5));
    const piece = Buffer.alloc(64 * 1024);
    const send = () => {
      if (!stream.destroyed && takenBytes < 16 * 1024 * 1024)
        stream.write(piece, (error) => {
          if (error) return;
          takenBytes += piece.length;
          send();
        });
    };
    send();
    expect(await ending(stream)).toMatchObject({ status: "16", reason: "KEY_MISSING" });
    await once(stream, "close");
    expect(takenBytes).toBeLessThan(2.5 * 1024 * 1024);
    // Over HTTP/1.1 the answer is there while nothing but the head of the body has been sent.
    const headers = { "content-type": "application/json", "content-length": String(3 * 1024 * 1024) };
    const request = http.request(`${server.httpUrl}/frostline.v1.ShareService/ListShares`, { method: "POST", headers });
    request.on("error", () => {});
    request.write("{");
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    expect(response.statusCode).toBe(401);
    request.destroy();
  });

  test("may guess so often, and no more; keys that were good, and other addresses, are served", async () => {
    const server = await start({ FROSTLINE_FAILED_AUTHENTICATIONS_PER_MINUTE: "5" });
    const own = session(server);
    expect(await grpcCall(own, tenant.keys.reader)).toMatchObject({ status: "0" });
    const guesses = await Promise.all(Array.from({ length: 20 }, (_, n) => grpcCall(own, `fl_${String(n).padStart(43, "a")}`)));
    expect(guesses.filter(({ status }) => status === "16")).toHaveLength(5);
    const refused = guesses.filter(({ status }) => status === "8");
    expect(refused).toHaveLength(15);
    for (const { reason, retryDelayMs } of refused) {
      expect(reason).toBe("TOO_MANY_FAILED_AUTHENTICATIONS");
      expect(retryDelayMs).toBeGreaterThan(1000);
      expect(retryDelayMs).toBeLessThanOrEqual(12_000);
    }
    expect(await grpcCall(own, tenant.keys.reader)).toMatchObject({ status: "0" });
    // Nobody looks whether it is one.
    expect(await grpcCall(own, tenant.keys.admin)).toMatchObject({ status: "8" });
    expect(await grpcCall(session(server, "127.0.0.2"), tenant.keys.admin)).toMatchObject({ status: "0" });
    const { text } = await server.metrics.read();
    expect(text).toContain('frostline_limited_calls_total{reason="TOO_MANY_FAILED_AUTHENTICATIONS",of="address"} 16\n');
  });
});

describe("connections", () => {
  test("of an address without a valid key are bounded; with one they do not count", async () => {
    const server = await start({ FROSTLINE_UNKNOWN_CONNECTIONS: "2" });
    const known = session(server);
    expect(await grpcCall(known, tenant.keys.reader)).toMatchObject({ status: "0" });
    const unknown = [session(server), session(server)];
    await Promise.all(unknown.map((own) => once(own, "remoteSettings")));
    const [code] = await once(session(server), "goaway");
    expect(code).toBe(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    await once(session(server, "127.0.0.2"), "remoteSettings");
    expect(await grpcCall(known, tenant.keys.reader)).toMatchObject({ status: "0" });
  });

  test("that nobody calls on are told to go: soon without a key, later with one; a stream keeps its own", async () => {
    const server = await start({ FROSTLINE_REQUEST_SECONDS: "1", FROSTLINE_CONNECTION_IDLE_SECONDS: "3" });
    const [silent, idle, busy] = [session(server), session(server), session(server)];
    await grpcCall(idle, tenant.keys.reader);
    const stream = open(busy, WarmingService.method.watchWarming, tenant.keys.reader);
    stream.end(encode(WarmingService.method.watchWarming, {}));
    const gone: string[] = [];
    silent.once("goaway", () => gone.push("silent"));
    idle.once("goaway", () => gone.push("idle"));
    await expect.poll(() => gone, { timeout: 10_000 }).toEqual(["silent", "idle"]);
    expect([busy.closed, stream.closed]).toEqual([false, false]);
  });

  test("that flood with resets are ended, and headers that are too long refused", async () => {
    const server = await start({});
    const own = session(server);
    await once(own, "remoteSettings");
    await new Promise((resolve) => own.ping(resolve));
    const long = own.request({ ":path": "/", "x-a": "a".repeat(20_000), "x-b": "b".repeat(20_000) });
    const [error] = await once(long, "error");
    expect(error.message).toContain("NGHTTP2_ENHANCE_YOUR_CALM");
    let away = false;
    own.once("goaway", () => (away = true));
    own.once("close", () => (away = true));
    let sent = 0;
    for (; !away && sent < 20_000; sent++) {
      open(own, listShares).close(http2.constants.NGHTTP2_CANCEL);
      if (sent % 50 === 0) await new Promise(setImmediate);
    }
    expect(sent).toBeLessThan(20_000);
    expect(await grpcCall(session(server), tenant.keys.reader)).toMatchObject({ status: "0" });
  });
});

test("a push in JSON is refused in plain words", async () => {
  const server = await start({ FROSTLINE_HTTP_LISTEN: "127.0.0.1:0" });
  const answer = await fetch(`${server.httpUrl}/frostline.v1.ScanService/PushScan`, {
    method: "POST",
    headers: { "content-type": "application/connect+json", authorization: `Bearer ${tenant.keys.agent}` },
    body: frame(Buffer.from('{"open":{"scanId":"1","writer":"main"}}')),
  });
  const said = Buffer.from(await answer.arrayBuffer()).toString();
  expect(said).toContain("PushScan takes messages in the binary encoding alone, not in JSON.");
  expect(said).not.toContain("View");
});
