/** The server as its clients meet it: who may call, what failures look like, and how it stops. */
import { once } from "node:events";
import * as http2 from "node:http2";
import * as net from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient } from "../src/agent/client.js";
import { loadConfig } from "../src/config.js";
import { PushScanRequestSchema, ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { TenantService } from "../src/gen/frostline/v1/tenant_pb.js";
import { createLogger } from "../src/log.js";
import { type RunningServer, startServer } from "../src/server/start.js";
import { createEmptyDatabase, createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

let database: TestDatabase;
let tenant: TestTenant;
let server: RunningServer;

beforeAll(async () => {
  database = await createTestDatabase();
  tenant = await createTestTenant(database);
  server = await start(database.runtimeUrl);
});
afterAll(async () => {
  await server?.close();
  await database?.drop();
});

function start(databaseUrl: string, log = createLogger("silent")): Promise<RunningServer> {
  const config = loadConfig({ DATABASE_URL: databaseUrl, FROSTLINE_LISTEN: "127.0.0.1:0" });
  return startServer({ config, log });
}

async function withKey<T>(
  key: string,
  work: (client: ReturnType<typeof createClient>) => Promise<T>,
  address = server.address,
): Promise<T> {
  const client = createClient({ server: address, key });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

const listShares = (key: string) => withKey(key, (client) => client.unary(ShareService.method.listShares, {}));

test("a key is needed, and has to be a known one", async () => {
  await expect(listShares(`fl_${"A".repeat(43)}`)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_INVALID" });
  await expect(listShares("")).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_MISSING" });
  expect((await listShares(tenant.keys.reader)).shares).toEqual([]);
});

test("an expired key is refused, and a revoked one from the next call on", async () => {
  const secret = await withKey(tenant.keys.admin, async (client) => {
    const { key, secret } = await client.unary(TenantService.method.createKey, { name: "short", scopes: [3] });
    expect((await listShares(secret)).shares).toEqual([]);
    await client.unary(TenantService.method.revokeKey, { keyId: key?.keyId ?? "" });
    return secret;
  });
  await expect(listShares(secret)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_INVALID" });
  await withClient(database.superuserUrl, (client) =>
    client.query("UPDATE api_key SET revoked_utc = NULL, expires_utc = now() WHERE name = 'short'"),
  );
  await expect(listShares(secret)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_INVALID" });
});

test("a scope that is lacking is named; admin has them all", async () => {
  const startScan = (key: string) =>
    withKey(key, (client) => client.unary(ScanService.method.startScan, { shareName: "none", mode: ScanMode.FULL }));
  await expect(startScan(tenant.keys.reader)).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
    reason: "SCOPE_MISSING",
    metadata: { needed: "agent" },
    message: expect.stringContaining("agent"),
  });
  await expect(startScan(tenant.keys.admin)).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SHARE_NOT_FOUND" });
});

test("admins of other tenants do not manage tenants", async () => {
  const list = (key: string) => withKey(key, (client) => client.unary(TenantService.method.listTenants, {}));
  await expect(list(tenant.keys.admin)).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "NOT_PLATFORM" });
  const platform = await createTestTenant(database, { isPlatform: true });
  expect((await list(platform.keys.admin)).tenants.map(({ code }) => code)).toContain(tenant.code);
});

test("an unforeseen failure tells the caller an id and nothing else", async () => {
  await withClient(database.superuserUrl, async (client) => {
    await client.query("ALTER TABLE share RENAME COLUMN source_root TO root");
    await expect(listShares(tenant.keys.reader)).rejects.toMatchObject({
      code: "INTERNAL",
      message: expect.stringMatching(/^internal error; the server's log tells more under [0-9a-f-]{36}$/),
    });
    await client.query("ALTER TABLE share RENAME COLUMN root TO source_root");
  });
  expect((await listShares(tenant.keys.reader)).shares).toEqual([]);
});

test("too few database connections make a call UNAVAILABLE with a delay, not wait for ever", { timeout: 30_000 }, async () => {
  await withClient(database.superuserUrl, async (client) => {
    await client.query("BEGIN; LOCK TABLE api_key");
    const calls = Array.from({ length: 12 }, () => listShares(tenant.keys.reader).catch((error) => error));
    for (const error of await Promise.all(calls)) expect(error).toMatchObject({ code: "UNAVAILABLE", retryDelayMs: 1000 });
    await client.query("ROLLBACK");
  });
});

/** One message of a PushScan stream that fails, because there is no such scan, when the server has read some of its body. */
/** No scan has this id. */
const nowhere = 1n << 60n;

function openMessage(scanId: bigint): Buffer {
  const message = toBinary(
    PushScanRequestSchema,
    create(PushScanRequestSchema, { message: { case: "open", value: { scanId, writer: "w" } } }),
  );
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** A stream by hand, which a proper client would not leave open. */
function rawStream(session: http2.ClientHttp2Session, key: string): http2.ClientHttp2Stream {
  return session.request({
    ":method": "POST",
    ":path": "/frostline.v1.ScanService/PushScan",
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${key}`,
  });
}

test("streams that fail with their request half read are closed after their trailers", async () => {
  const session = http2.connect(`http://${server.address}`);
  const streams = Array.from({ length: 4 }, () => rawStream(session, tenant.keys.agent));
  const closed = Promise.all(streams.map((stream) => once(stream, "close")));
  const answers = streams.map((stream) => {
    stream.resume();
    stream.write(openMessage(nowhere));
    return Promise.all([once(stream, "response"), once(stream, "trailers")]);
  });
  for (const [[headers], [trailers]] of await Promise.all(answers)) {
    expect(headers[":status"]).toBe(200);
    expect(trailers).toMatchObject({ "grpc-status": "5", "grpc-status-details-bin": expect.any(String) });
  }
  await closed;
  await expect.poll(() => server.openCalls()).toBe(0);
  session.close();
});

test("a message over 4 MiB is refused by its own reason", async () => {
  const session = http2.connect(`http://${server.address}`);
  const stream = rawStream(session, tenant.keys.agent);
  stream.on("error", () => {});
  const size = 5 * 1024 * 1024;
  const head = Buffer.alloc(5);
  head.writeUInt32BE(size, 1);
  stream.write(head);
  stream.write(Buffer.alloc(64));
  stream.resume();
  const [trailers] = await once(stream, "trailers");
  expect(trailers["grpc-status"]).toBe("8");
  expect(Buffer.from(trailers["grpc-status-details-bin"], "base64").toString("latin1")).toContain("MESSAGE_TOO_LARGE");
  session.destroy();
  expect((await listShares(tenant.keys.reader)).shares).toEqual([]);
});

test("garbage on the port, or in a stream, hurts nobody else", async () => {
  const [host, port] = server.address.split(":") as [string, string];
  const socket = net.connect(Number(port), host);
  socket.on("error", () => {});
  socket.resume();
  socket.write("GET / HTTP/1.1\r\n\r\n\0\xff garbage");
  await once(socket, "close");
  const session = http2.connect(`http://${server.address}`);
  const stream = rawStream(session, tenant.keys.agent);
  stream.end(Buffer.from([0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]));
  stream.resume();
  const [trailers] = await once(stream, "trailers");
  expect(trailers["grpc-status"]).not.toBe("0");
  session.close();
  expect((await listShares(tenant.keys.reader)).shares).toEqual([]);
});

test("a stopping server ends open streams as UNAVAILABLE, and is gone well before its deadline", async () => {
  const other = await start(database.runtimeUrl);
  const session = http2.connect(`http://${other.address}`);
  session.on("error", () => {});
  const failing = rawStream(session, tenant.keys.agent);
  failing.resume();
  failing.write(openMessage(nowhere));
  await once(failing, "trailers");
  const scanId = await withKey(
    tenant.keys.agent,
    async (client) => {
      await client.unary(ShareService.method.createShare, { shareName: "drain", sourceType: SourceType.LUCIDLINK });
      const { scan } = await client.unary(ScanService.method.startScan, { shareName: "drain", mode: ScanMode.PARTIAL });
      return scan?.scanId as bigint;
    },
    other.address,
  );
  const stream = rawStream(session, tenant.keys.agent);
  stream.resume();
  stream.write(openMessage(scanId));
  const writers = async (client: Client) => (await client.unary(ScanService.method.getScan, { scanId })).writers.length;
  // The call before may be open still: the stream is there when its writer is.
  await expect.poll(() => withKey(tenant.keys.agent, writers, other.address)).toBe(1);
  const startMs = performance.now();
  // It would go on: nobody has ended it.
  const [[trailers]] = await Promise.all([once(stream, "trailers"), other.close()]);
  expect(trailers["grpc-status"]).toBe("14");
  expect(performance.now() - startMs).toBeLessThan(5_000);
  await expect(withKey(tenant.keys.reader, (c) => c.unary(ShareService.method.listShares, {}), other.address)).rejects.toMatchObject({
    code: "UNAVAILABLE",
  });
  session.destroy();
});

/** What a server of its own logs while `work` runs, and after it has stopped. */
async function logOf(work: (other: RunningServer) => Promise<void>): Promise<{ level: number; msg: string; code?: string }[]> {
  const lines: { level: number; msg: string; code?: string }[] = [];
  const other = await start(database.runtimeUrl, pino({ level: "debug" }, { write: (line) => lines.push(JSON.parse(line)) }));
  try {
    await work(other);
  } finally {
    await other.close();
  }
  return lines;
}

const warning = 40;

test("a client that goes away in the middle of a call is no failure of the server's", async () => {
  const lines = await logOf(async (other) => {
    const session = http2.connect(`http://${other.address}`);
    session.on("error", () => {});
    const streams = Array.from({ length: 3 }, () => rawStream(session, tenant.keys.agent));
    for (const stream of streams) stream.on("error", () => {});
    // Half of a message's head: the server waits for the rest of it.
    for (const stream of streams) stream.write(Buffer.from([0, 0]));
    await expect.poll(() => other.openCalls()).toBe(3);
    streams[0]?.destroy();
    streams[1]?.destroy(new Error("broken"));
    await expect.poll(() => other.openCalls()).toBe(1);
    session.destroy();
    await expect.poll(() => other.openCalls()).toBe(0);
  });
  expect(lines.filter(({ level }) => level >= warning)).toEqual([]);
  expect(lines.filter(({ msg }) => msg === "call").map(({ code }) => code)).toEqual(["Canceled", "Canceled", "Canceled"]);
});

test("two servers share a database", async () => {
  const other = await start(database.runtimeUrl);
  await withKey(tenant.keys.operator, (client) =>
    client.unary(ShareService.method.createShare, { shareName: "both", sourceType: SourceType.SMB }),
  );
  const { share } = await withKey(
    tenant.keys.reader,
    (client) => client.unary(ShareService.method.getShare, { shareName: "both" }),
    other.address,
  );
  expect(share).toMatchObject({ shareName: "both", caseSensitive: false, brakePercent: 50, lastCompleteScanId: 0n });
  await other.close();
});

test("it refuses roles that could see across tenants, and a schema that is not its own", async () => {
  await expect(start(database.superuserUrl)).rejects.toThrow(/superuser.*frostline_runtime/);
  await expect(start(database.ownerUrl)).rejects.toThrow(/owns the tables/);
  const empty = await createEmptyDatabase();
  await expect(start(empty.runtimeUrl)).rejects.toThrow(/no Frostline schema.*frostline migrate/);
  await empty.drop();
  await withClient(database.superuserUrl, async (client) => {
    await client.query("INSERT INTO schema_migration (name, run_on) VALUES ('9999_future', now())");
    await expect(start(database.runtimeUrl)).rejects.toThrow(/newer than this server: it has 9999_future/);
    await client.query("UPDATE schema_migration SET name = '0000_gone' WHERE name = '0002_scan_diff'");
    await expect(start(database.runtimeUrl)).rejects.toThrow(/older than this server: it lacks 0002_scan_diff/);
    await client.query(
      "DELETE FROM schema_migration WHERE name = '9999_future'; UPDATE schema_migration SET name = '0002_scan_diff' WHERE name = '0000_gone'",
    );
  });
});

test("a port that is taken is named", async () => {
  const config = loadConfig({ DATABASE_URL: database.runtimeUrl, FROSTLINE_LISTEN: server.address });
  await expect(startServer({ config, log: createLogger("silent") })).rejects.toThrow(`Cannot listen on ${server.address} (EADDRINUSE)`);
});
