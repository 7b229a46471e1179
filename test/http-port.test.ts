/** The second port, by fetch: probes, metrics, and calls as browsers and curl make them. */
import { once } from "node:events";
import * as fs from "node:fs/promises";
import type * as http from "node:http";
import * as https from "node:https";
import * as path from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { CreateShareRequestSchema, ListSharesResponseSchema, ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { WarmingService } from "../src/gen/frostline/v1/warming_pb.js";
import { issue } from "./support/certificates.js";
import { withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type LocalServer, startTestServer } from "./support/server.js";
import { chunk, file, listing } from "./support/streams.js";

const origin = "https://console.example.com";
let server: LocalServer;
let scratch: Scratch;

beforeAll(async () => {
  scratch = await scratchDirectory();
  server = await startTestServer({ env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0", FROSTLINE_CORS_ORIGINS: origin } });
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

const get = (what: string) => fetch(`${server.httpUrl}${what}`);

function call(method: string, init: { body: string | Buffer; headers: Record<string, string> }, url = server.httpUrl) {
  return fetch(`${url}/frostline.v1.ShareService/${method}`, { method: "POST", ...init });
}

const bearer = () => ({ authorization: `Bearer ${server.keys.admin}` });

/** Lines of the metrics that begin so. */
async function metrics(prefix: string): Promise<string[]> {
  const text = await (await get("/metrics")).text();
  return text.split("\n").filter((line) => line.startsWith(prefix));
}

test("probes need no key; what is not there is 404", async () => {
  expect((await get("/livez")).status).toBe(200);
  const ready = await get("/readyz");
  expect([ready.status, await ready.text()]).toEqual([200, "ok\n"]);
  expect((await get("/nothing")).status).toBe(404);
});

test("Connect calls in JSON, with statuses a browser understands", async () => {
  const json = { "content-type": "application/json" };
  const made = await call("CreateShare", { body: '{"shareName":"web","sourceType":"SOURCE_TYPE_SMB"}', headers: { ...json, ...bearer() } });
  expect(await made.json()).toMatchObject({ share: { shareName: "web" } });
  const refused = await call("ListShares", { body: "{}", headers: json });
  expect(refused.status).toBe(401);
  expect(await refused.json()).toMatchObject({ code: "unauthenticated" });
});

test("gRPC-Web calls in binary", async () => {
  const body = frame(
    toBinary(CreateShareRequestSchema, create(CreateShareRequestSchema, { shareName: "grpc-web", sourceType: SourceType.NTFS })),
  );
  const headers = { "content-type": "application/grpc-web+proto", "x-grpc-web": "1", ...bearer() };
  expect((await call("CreateShare", { body, headers })).status).toBe(200);
  const answer = Buffer.from(await (await call("ListShares", { body: frame(new Uint8Array()), headers })).arrayBuffer());
  const length = answer.readUInt32BE(1);
  const { shares } = fromBinary(ListSharesResponseSchema, answer.subarray(5, 5 + length));
  expect(shares.map(({ shareName }) => shareName)).toContain("grpc-web");
  // The trailers are the last frame of the body.
  expect(answer.subarray(5 + length).toString()).toContain("grpc-status: 0");
});

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

test("pages of listed origins may call, others may not", async () => {
  const preflight = (from: string) =>
    fetch(`${server.httpUrl}/frostline.v1.ShareService/ListShares`, {
      method: "OPTIONS",
      headers: { origin: from, "access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type" },
    });
  const allowed = await preflight(origin);
  expect(allowed.status).toBe(204);
  expect(allowed.headers.get("access-control-allow-origin")).toBe(origin);
  expect(allowed.headers.get("access-control-allow-headers")).toMatch(/Authorization/);
  expect(allowed.headers.get("access-control-allow-methods")).toMatch(/POST/);
  for (const other of ["https://evil.example.com", "https://console.example.com.evil.com", "null"]) {
    expect((await preflight(other)).headers.get("access-control-allow-origin"), other).toBeNull();
  }
  const headers = { "content-type": "application/json", origin, ...bearer() };
  const answer = await call("ListShares", { body: "{}", headers });
  expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
  expect(answer.headers.get("access-control-expose-headers")).toMatch(/Grpc-Status/);
  expect(answer.headers.get("vary")).toBe("Origin");
});

test("metrics: calls, merges, shares, pools and the event loop; no key in any line", async () => {
  const client = createClient({ server: server.address, key: server.keys.admin });
  await client.unary(ShareService.method.createShare, { shareName: "measured", sourceType: SourceType.LUCIDLINK });
  const { scan } = await client.unary(ScanService.method.startScan, { shareName: "measured", mode: ScanMode.FULL });
  const scanId = scan?.scanId as bigint;
  const stream = client.clientStream(ScanService.method.pushScan);
  await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
  await stream.send({ message: { case: "chunk", value: chunk(0, [listing("/", [file("film"), file("")])]) } });
  expect(await metrics('frostline_open_calls{method="frostline.v1.ScanService/PushScan"}')).toEqual([
    'frostline_open_calls{method="frostline.v1.ScanService/PushScan"} 1',
  ]);
  await stream.finish();
  await client.unary(ScanService.method.finishScan, { scanId, chunks: { main: 1n } });
  const stranger = createClient({ server: server.address, key: "fl_wrong" });
  await expect(stranger.unary(ShareService.method.listShares, {})).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
  // Another server, as its figures of shares are kept for a while.
  const other = await startTestServer({ database: server.database, tenant: server, env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0" } });
  const labels = `{tenant="${server.code}",share="measured"}`;
  const fresh = await (await fetch(`${other.httpUrl}/metrics`)).text();
  expect(fresh).toContain(`frostline_share_scanned_files${labels} 1\n`);
  expect(fresh).toContain(`frostline_share_refused_records${labels} 1\n`);
  expect(fresh).toMatch(/frostline_share_complete_scan_age_seconds\{[^}]*share="measured"\} \d/);
  await other.close();
  const all = await (await get("/metrics")).text();
  expect(all).toContain('frostline_calls_total{method="frostline.v1.ScanService/PushScan",code="OK"} 1\n');
  expect(all).toContain('frostline_open_calls{method="frostline.v1.ScanService/PushScan"} 0\n');
  expect(all).toMatch(/frostline_merge_seconds_count\{outcome="done"\} [1-9]/);
  expect(all).toMatch(/frostline_refused_calls_total\{reason="KEY_INVALID"\} 1\n/);
  expect(all).toMatch(/frostline_pool_connections\{pool="query",state="idle"\} \d/);
  expect(all).toMatch(/^frostline_serving 1$/m);
  expect(all).toMatch(/^nodejs_eventloop_lag_p99_seconds \d/m);
  for (const key of [...Object.values(server.keys), "fl_wrong"]) expect(all).not.toContain(key.slice(3));
  client.close();
  stranger.close();
});

test("a watch whose client goes away is counted as ended", async () => {
  const client = createClient({ server: server.address, key: server.keys.reader });
  const method = 'frostline_open_calls{method="frostline.v1.WarmingService/WatchWarming"}';
  const watch = client.serverStream(WarmingService.method.watchWarming, {})[Symbol.asyncIterator]();
  await watch.next();
  expect(await metrics(method)).toEqual([`${method} 1`]);
  await watch.return?.();
  await expect.poll(() => metrics(method)).toEqual([`${method} 0`]);
  client.close();
});

test("a stopping server is live and not ready, until it is gone", async () => {
  const other = await startTestServer({
    database: server.database,
    tenant: server,
    env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0", FROSTLINE_STOP_DELAY_SECONDS: "1" },
  });
  const closed = other.close();
  const ready = await fetch(`${other.httpUrl}/readyz`);
  expect([ready.status, await ready.text()]).toEqual([503, "not ready: stopping\n"]);
  expect((await fetch(`${other.httpUrl}/livez`)).status).toBe(200);
  await closed;
  await expect(fetch(`${other.httpUrl}/livez`)).rejects.toThrow();
});

test("a port that is taken is named, and leaves nothing listening", async () => {
  const taken = new URL(server.httpUrl).host;
  const start = startTestServer({ database: server.database, tenant: server, env: { FROSTLINE_HTTP_LISTEN: taken } });
  await expect(start).rejects.toThrow(`Cannot listen on ${taken} (EADDRINUSE). Stop what uses it, or set FROSTLINE_HTTP_LISTEN.`);
});

test("with TLS, both ports speak HTTP/1.1 over it; calls need the client certificate, probes do not", async () => {
  const authority = issue("authority");
  const own = issue("server", { issuer: authority });
  const write = async (name: string, pem: string) => {
    await fs.writeFile(path.join(scratch.path, name), pem);
    return path.join(scratch.path, name);
  };
  const secure = await startTestServer({
    database: server.database,
    tenant: server,
    env: {
      FROSTLINE_HTTP_LISTEN: "127.0.0.1:0",
      FROSTLINE_TLS_CERT: await write("server.crt", own.cert),
      FROSTLINE_TLS_KEY: await write("server.key", own.key),
      FROSTLINE_TLS_CLIENT_CA: await write("clients.crt", authority.cert),
    },
  });
  const post = "/frostline.v1.ShareService/ListShares";
  const certificate = issue("browser", { issuer: authority });
  expect(await ask(`${secure.httpUrl}/readyz`)).toMatchObject({ status: 200 });
  expect(await ask(`${secure.httpUrl}${post}`)).toMatchObject({ status: 401, body: expect.stringContaining("client certificate") });
  expect(await ask(`${secure.httpUrl}${post}`, certificate)).toMatchObject({ status: 200 });
  expect(await ask(`${secure.address}${post}`)).toMatchObject({ status: 401 });
  expect(await ask(`${secure.address}${post}`, certificate)).toMatchObject({ status: 200 });
  await secure.close();

  async function ask(url: string, client?: { cert: string; key: string }) {
    const headers = { "content-type": "application/json", ...bearer() };
    const identity = client === undefined ? {} : { cert: client.cert, key: client.key };
    const isCall = url.endsWith(post);
    const request = https.request(url, { method: isCall ? "POST" : "GET", headers, ca: authority.cert, agent: false, ...identity });
    request.end(isCall ? "{}" : undefined);
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    let body = "";
    for await (const part of response) body += part;
    return { status: response.statusCode, body };
  }
});

test("a database that is gone does not keep the metrics from saying so", async () => {
  const other = await startTestServer({ env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0", FROSTLINE_LOG_LEVEL: "silent" } });
  await withClient(other.database.superuserUrl, async (superuser) => {
    const { rows } = await superuser.query<{ name: string }>("SELECT quote_ident(current_database()) AS name");
    await superuser.query(`ALTER DATABASE ${rows[0]?.name} CONNECTION LIMIT 0`);
    await superuser.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    await expect.poll(async () => (await fetch(`${other.httpUrl}/readyz`)).status, { timeout: 10_000 }).toBe(503);
    const text = await (await fetch(`${other.httpUrl}/metrics`)).text();
    expect(text).toMatch(/^frostline_serving 0$/m);
    expect(text).toMatch(/^frostline_metrics_read_failures_total [1-9]\d*$/m);
  });
  await other.close();
});
