/** TLS as clients and operators meet it: certificates, their replacement under load, and who is refused. */
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as tls from "node:tls";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ClientTls, createClient } from "../src/agent/client.js";
import { loadConfig } from "../src/config.js";
import { ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { TenantService } from "../src/gen/frostline/v1/tenant_pb.js";
import { WarmingService } from "../src/gen/frostline/v1/warming_pb.js";
import { createLogger } from "../src/log.js";
import { type RunningServer, startServer } from "../src/server/start.js";
import { fingerprintOf, type Issued, issue } from "./support/certificates.js";
import { frostline } from "./support/command.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { spawnServer } from "./support/server.js";
import { chunk, file, listing } from "./support/streams.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

const authority = issue("authority");
const clients = issue("clients");
let database: TestDatabase;
let tenant: TestTenant;
let scratch: Scratch;

beforeAll(async () => {
  database = await createTestDatabase();
  tenant = await createTestTenant(database);
  scratch = await scratchDirectory();
});
afterAll(async () => {
  await scratch?.remove();
  await database?.drop();
});

async function write(name: string, pem: string): Promise<string> {
  const file = path.join(scratch.path, name);
  // Replaced as a whole, as whoever renews certificates should.
  await fs.writeFile(`${file}.new`, pem);
  await fs.rename(`${file}.new`, file);
  return file;
}

async function settings(server: Issued, clientCa?: string): Promise<Record<string, string>> {
  return {
    FROSTLINE_TLS_CERT: await write("server.crt", server.cert),
    FROSTLINE_TLS_KEY: await write("server.key", server.key),
    ...(clientCa === undefined ? {} : { FROSTLINE_TLS_CLIENT_CA: await write("clients.crt", clientCa) }),
  };
}

function start(env: Record<string, string>, log = createLogger("silent")): Promise<RunningServer> {
  return startServer({ config: loadConfig({ DATABASE_URL: database.runtimeUrl, FROSTLINE_LISTEN: "127.0.0.1:0", ...env }), log });
}

function listShares(server: string, key: string, certificate?: Issued) {
  const client = createClient({ server, key, tls: trust(certificate) });
  return client.unary(ShareService.method.listShares, {}).finally(() => client.close());
}

function trust(certificate?: Issued): ClientTls {
  const ca = Buffer.from(authority.cert);
  if (certificate === undefined) return { ca };
  return { ca, certificate: { cert: Buffer.from(certificate.cert), key: Buffer.from(certificate.key) } };
}

/** The certificate that a new connection is shown. */
async function shownBy(address: string): Promise<string> {
  const { hostname, port } = new URL(address);
  const socket = tls.connect({ host: hostname, port: Number(port), ca: authority.cert, ALPNProtocols: ["h2", "http/1.1"] });
  await once(socket, "secureConnect");
  const { fingerprint256 } = socket.getPeerCertificate();
  socket.destroy();
  return fingerprint256;
}

test("certificates replaced under load: no stream breaks, new connections see the new one", async () => {
  const first = issue("first", { issuer: authority });
  const server = await start({ ...(await settings(first, clients.cert)), FROSTLINE_HTTP_LISTEN: "127.0.0.1:0" });
  const own = issue("agent", { issuer: clients });
  const connect = (key: string) => createClient({ server: server.address, key, tls: trust(own) });
  const client = connect(tenant.keys.admin);
  await client.unary(ShareService.method.createShare, { shareName: "load", sourceType: SourceType.LUCIDLINK });
  const { scan } = await client.unary(ScanService.method.startScan, { shareName: "load", mode: ScanMode.FULL });
  const scanId = scan?.scanId as bigint;
  // A connection each: all are older than the certificates that follow.
  const streams = Array.from({ length: 6 }, (_, n) => {
    const connection = connect(tenant.keys.agent);
    return { writer: `w${n}`, connection, stream: connection.clientStream(ScanService.method.pushScan) };
  });
  for (const { stream, writer } of streams) await stream.send({ message: { case: "open", value: { scanId, writer } } });
  const watcher = connect(tenant.keys.reader);
  const watch = watcher.serverStream(WarmingService.method.watchWarming, {})[Symbol.asyncIterator]();
  await watch.next();
  const rounds = 40;
  for (let round = 0; round < rounds; round++) {
    for (const { stream, writer } of streams) {
      const sent = chunk(round, [listing(`/${writer}/${round}`, [file("film")])]);
      await stream.send({ message: { case: "chunk", value: sent } });
    }
    // On a connection as old as the server.
    await client.unary(ShareService.method.listShares, {});
    if (round % 10 !== 5) continue;
    const next = issue(`renewed ${round}`, { issuer: authority });
    await settings(next, clients.cert);
    await server.reloadTls();
    for (const address of [server.address, server.httpUrl as string]) expect(await shownBy(address)).toBe(fingerprintOf(next.cert));
    await listShares(server.address, tenant.keys.reader, own);
  }
  // Their own authority goes as well: new connections need a certificate of the next one, and what is open goes on.
  const successor = issue("clients' successor");
  await settings(issue("last", { issuer: authority }), successor.cert);
  await server.reloadTls();
  await expect(listShares(server.address, tenant.keys.reader, own)).rejects.toMatchObject({ reason: "CERTIFICATE_REFUSED" });
  await listShares(server.address, tenant.keys.reader, issue("next agent", { issuer: successor }));
  for (const { stream, connection } of streams) {
    expect(await stream.finish()).toMatchObject({ nextChunkNo: BigInt(rounds) });
    connection.close();
  }
  const chunks = Object.fromEntries(streams.map(({ writer }) => [writer, BigInt(rounds)]));
  expect((await client.unary(ScanService.method.finishScan, { scanId, chunks })).scan).toMatchObject({
    counts: { files: BigInt(streams.length * rounds) },
  });
  await watch.return?.();
  watcher.close();
  client.close();
  await server.close();
});

test("files that cannot be used leave the last good ones in place, and say so once", async () => {
  const lines: { msg: string; problem?: string }[] = [];
  const good = issue("good", { issuer: authority });
  const server = await start(await settings(good), pino({ level: "warn" }, { write: (line) => lines.push(JSON.parse(line)) }));
  const other = issue("other", { issuer: authority });
  await write("server.crt", other.cert);
  await server.reloadTls();
  await server.reloadTls();
  expect(await shownBy(server.address)).toBe(fingerprintOf(good.cert));
  expect(lines.map(({ problem }) => problem)).toEqual([expect.stringMatching(/server\.key .* does not belong to .*server\.crt/)]);
  await write("server.key", other.key);
  await server.reloadTls();
  expect(await shownBy(server.address)).toBe(fingerprintOf(other.cert));
  await server.close();
});

test("the program looks again at SIGHUP", async () => {
  const server = await spawnServer({ database, tenant, env: await settings(issue("before", { issuer: authority })) });
  const after = issue("after", { issuer: authority });
  await settings(after);
  process.kill(server.pid, "SIGHUP");
  await expect.poll(() => shownBy(server.address)).toBe(fingerprintOf(after.cert));
  await server.close();
  expect(await server.exited).toBe(0);
});

test("the program sees by itself that files changed", { timeout: 30_000 }, async () => {
  const server = await start(await settings(issue("old", { issuer: authority })));
  const changed = issue("changed", { issuer: authority });
  await settings(changed);
  await expect.poll(() => shownBy(server.address), { timeout: 15_000 }).toBe(fingerprintOf(changed.cert));
  await server.close();
});

test("a wrong client certificate is refused as UNAUTHENTICATED, and logged with its reason", async () => {
  const lines: Record<string, unknown>[] = [];
  const env = await settings(issue("mutual", { issuer: authority }), clients.cert);
  const server = await start(env, pino({ level: "info" }, { write: (line) => lines.push(JSON.parse(line)) }));
  const refused = { code: "UNAUTHENTICATED", reason: "CERTIFICATE_REFUSED" };
  const key = tenant.keys.reader;
  expect(await listShares(server.address, key, issue("agent 7", { issuer: clients }))).toBeDefined();
  await expect(listShares(server.address, key)).rejects.toMatchObject(refused);
  await expect(listShares(server.address, key, issue("stranger", { issuer: issue("unknown") }))).rejects.toMatchObject(refused);
  const late = issue("late", { issuer: clients, notAfter: new Date(Date.now() - 1000) });
  await expect(listShares(server.address, key, late)).rejects.toMatchObject(refused);
  // A good certificate does not replace a key.
  await expect(listShares(server.address, "", issue("agent 8", { issuer: clients }))).rejects.toMatchObject({ reason: "KEY_MISSING" });
  const reasons = lines.filter(({ msg }) => msg === "a call was refused");
  expect(reasons).toHaveLength(4);
  expect(reasons[2]).toMatchObject({
    code: "UNAUTHENTICATED",
    certificateRefused: expect.stringContaining("EXPIRED"),
    peer: expect.stringMatching(/127\.0\.0\.1$/),
  });
  await server.close();
});

test("expired and revoked keys are refused as UNAUTHENTICATED, and logged without the secret", async () => {
  const lines: string[] = [];
  const env = await settings(issue("keys", { issuer: authority }));
  const server = await start(env, pino({ level: "trace" }, { write: (line) => lines.push(line) }));
  const admin = createClient({ server: server.address, key: tenant.keys.admin, tls: trust() });
  const made = await admin.unary(TenantService.method.createKey, { name: "soon gone", scopes: [3] });
  await listShares(server.address, made.secret);
  await admin.unary(TenantService.method.revokeKey, { keyId: made.key?.keyId ?? "" });
  await expect(listShares(server.address, made.secret)).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_INVALID" });
  admin.close();
  await server.close();
  expect(lines.filter((line) => line.includes('"reason":"KEY_INVALID"') && line.includes("a call was refused"))).toHaveLength(1);
  const log = lines.join("");
  for (const secret of [made.secret.slice(3), tenant.keys.admin.slice(3)]) expect(log).not.toContain(secret);
});

test("files that cannot be used are named at the start", async () => {
  const good = issue("good", { issuer: authority });
  const env = await settings(good);
  await expect(start({ ...env, FROSTLINE_TLS_CERT: "/nowhere.crt" })).rejects.toThrow(
    /FROSTLINE_TLS_CERT cannot be read: ENOENT.*\/nowhere\.crt/,
  );
  await expect(start({ ...env, FROSTLINE_TLS_KEY: await write("bad.key", "no key") })).rejects.toThrow(/bad\.key is not usable PEM/);
  await expect(start({ ...env, FROSTLINE_TLS_KEY: await write("other.key", authority.key) })).rejects.toThrow(
    /other\.key .* does not belong/,
  );
  const late = issue("late", { issuer: authority, notAfter: new Date(Date.now() - 1000) });
  await expect(start(await settings(late))).rejects.toThrow(/server\.crt expired on/);
  const early = issue("early", { issuer: authority, notBefore: new Date(Date.now() + 3_600_000) });
  await expect(start(await settings(early))).rejects.toThrow(/server\.crt is valid from/);
  await expect(start(await settings(good, "nothing"))).rejects.toThrow(/FROSTLINE_TLS_CLIENT_CA: .*clients\.crt is not usable PEM/);
});

test("commands call https:// servers with --ca and a client certificate", async () => {
  const env = await settings(issue("commands", { issuer: authority }), clients.cert);
  const server = await start(env);
  const own = issue("operator", { issuer: clients });
  const pem = ["--client-cert", await write("own.crt", own.cert), "--client-key", await write("own.key", own.key)];
  const ca = ["--ca", await write("authority.crt", authority.cert)];
  const call = (...options: string[]) => frostline(["share", "list", "--key", tenant.keys.reader, "--server", ...options]);
  expect(await call(server.address, ...ca, ...pem)).toMatchObject({ status: 0 });
  expect(await call(server.address, ...ca)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/client certificate.*--client-cert/s),
  });
  expect(await call(server.address, ...pem)).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/cannot be trusted.*certificate.*--ca/s),
  });
  expect(await call(server.address, ...pem.slice(0, 2))).toMatchObject({ status: 2, stderr: expect.stringContaining("--client-key") });
  expect(await call("127.0.0.1:1", ...ca)).toMatchObject({ status: 2, stderr: expect.stringContaining("https://127.0.0.1:1") });
  await server.close();
});
