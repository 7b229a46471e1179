/** What an attacker would send instead of a key: doubled, disguised and misplaced credentials, on every protocol and port. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as http from "node:http";
import * as http2 from "node:http2";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { decodeStatusDetails } from "../src/agent/status-details.js";
import { services } from "../src/rpc/routes.js";
import { buf } from "./clients/tools.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type LocalServer, startTestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";

const listShares = "/frostline.v1.ShareService/ListShares";
const origin = "https://console.example.com";
let server: LocalServer;
let other: string;
let scratch: Scratch;
let session: http2.ClientHttp2Session;

beforeAll(async () => {
  server = await startTestServer({ env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0", FROSTLINE_CORS_ORIGINS: origin } });
  other = (await createTestTenant(server.database)).keys.reader;
  scratch = await scratchDirectory();
  session = http2.connect(`http://${server.address}`);
});
afterAll(async () => {
  session?.destroy();
  await scratch?.remove();
  await server?.close();
});

const bearer = (key: string) => `Bearer ${key}`;

/** gRPC status and reason of a call over HTTP/2 with this authorization. */
async function grpcCall(authorization: string): Promise<{ status: unknown; reason: string }> {
  const stream = session.request({
    ":method": "POST",
    ":path": listShares,
    "content-type": "application/grpc",
    te: "trailers",
    authorization,
  });
  stream.end(Buffer.alloc(5));
  stream.resume();
  // A refusal has no body, and its status among the headers.
  const trailers = once(stream, "trailers");
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders];
  const [end] = headers["grpc-status"] === undefined ? ((await trailers) as [http2.IncomingHttpHeaders]) : [headers];
  const { reason = "" } = decodeStatusDetails(Buffer.from(String(end["grpc-status-details-bin"] ?? ""), "base64"));
  return { status: end["grpc-status"], reason };
}

/** What `buf curl` says to a call with these header lines: clients of Node's refuse to send one twice. */
async function bufCall(...lines: string[]): Promise<string> {
  const options = ["--protocol", "grpc", "--http2-prior-knowledge", ...lines.flatMap((line) => ["-H", line])];
  const child = spawn(buf, ["curl", ...options, "-d", "{}", `http://${server.address}${listShares}`], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
  await once(child, "close");
  return output;
}

/** Over HTTP/1.1, with each of these header lines as it stands. */
function http1Call(
  headers: Record<string, string | string[]>,
  options: http.RequestOptions & { body?: string } = {},
): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const { body = "{}", ...rest } = options;
    const request = http.request(`${server.httpUrl}${listShares}`, {
      method: "POST",
      ...rest,
      headers: { "content-type": "application/json", ...headers },
    });
    request.on("error", reject);
    request.on("response", async (response) => {
      let text = "";
      for await (const part of response) text += part;
      resolve({ status: response.statusCode as number, body: text });
    });
    request.end(request.method === "GET" ? undefined : body);
  });
}

test("two authorization headers are refused, whichever of them is good", async () => {
  const good = bearer(server.keys.reader);
  for (const pair of [
    [good, good],
    [good, bearer(other)],
    [good, "Bearer x"],
    ["Bearer x", good],
  ] as [string, string][]) {
    const twice = await http1Call({ authorization: pair });
    expect(twice).toMatchObject({ status: 401, body: expect.stringContaining("more than one authorization header") });
    // Joined by a proxy that folds lines.
    expect(await grpcCall(pair.join(", "))).toEqual({ status: "16", reason: "KEY_MISSING" });
  }
  expect(await bufCall(`authorization: ${good}`, "authorization: Bearer x")).toMatch(
    /unauthenticated.*more than one authorization header/s,
  );
  expect(await bufCall("Authorization: Bearer x", `authorization: ${good}`)).toMatch(
    /unauthenticated.*more than one authorization header/s,
  );
  expect(await bufCall(`AUTHORIZATION: ${good}`)).not.toContain("unauthenticated");
});

test("the scheme's case and spaces do not matter, anything else does", async () => {
  const key = server.keys.reader;
  for (const value of [`bearer ${key}`, `BEARER ${key}`, `Bearer    ${key}`]) {
    expect(await grpcCall(value), value).toEqual({ status: "0", reason: "" });
    expect((await http1Call({ authorization: value })).status, value).toBe(200);
  }
  const refused: [string, string][] = [
    [key, "KEY_MISSING"],
    [`Basic ${Buffer.from(`x:${key}`).toString("base64")}`, "KEY_MISSING"],
    ["Bearer", "KEY_MISSING"],
    [`Bearer\t${key}`, "KEY_MISSING"],
    [`Bearer${key}`, "KEY_MISSING"],
    [`Bearer ${key} ${key}`, "KEY_MISSING"],
    [`Bearer "${key}"`, "KEY_MISSING"],
    [`Bearer \u00a0${key}`, "KEY_MISSING"],
    [`Bearer ${key}\u00a0`, "KEY_MISSING"],
    [`Bearer ${key}é`, "KEY_MISSING"],
    [`Bearer ${key.toUpperCase()}`, "KEY_INVALID"],
    [`Bearer ${key}=`, "KEY_INVALID"],
    [`Bearer ${key.slice(0, -1)}`, "KEY_INVALID"],
    [`Bearer ${key}A`, "KEY_INVALID"],
    [`Bearer ${key.slice(3)}`, "KEY_INVALID"],
    [`Bearer fl_${key}`, "KEY_INVALID"],
    [`Bearer ${key}..`, "TOKENS_NOT_TAKEN"],
  ];
  for (const [value, reason] of refused) expect(await grpcCall(value), value).toEqual({ status: "16", reason });
});

test("nothing but the authorization header says who calls", async () => {
  const { reader: key } = server.keys;
  const elsewhere: Record<string, string>[] = [
    { cookie: `authorization=Bearer ${key}; key=${key}` },
    { "x-api-key": key },
    { "proxy-authorization": bearer(key) },
    { "grpc-metadata-authorization": bearer(key) },
    { "x-forwarded-authorization": bearer(key), "x-original-authorization": bearer(key) },
  ];
  for (const headers of elsewhere) expect((await http1Call(headers)).status, JSON.stringify(headers)).toBe(401);
  for (const query of [`?authorization=Bearer%20${key}`, `?key=${key}&access_token=${key}`]) {
    expect((await http1Call({}, { path: `${listShares}${query}` })).status, query).toBe(401);
  }
  // Nor does anything say which tenant but the key.
  for (const tenant of [server.tenantId, server.code]) {
    const answer = await http1Call({ authorization: bearer(other), "x-tenant-id": tenant, "x-frostline-tenant": tenant });
    expect(answer).toMatchObject({ status: 200, body: "{}" });
  }
});

test("no call is made by GET, so that none needs no preflight", async () => {
  const query = "?connect=v1&encoding=json&message=%7B%7D";
  for (const service of services) {
    for (const method of service.methods) {
      const answer = await http1Call(
        { authorization: bearer(server.keys.admin) },
        { method: "GET", path: `/${service.typeName}/${method.name}${query}` },
      );
      // Of bidirectional calls HTTP/1.1 has none.
      expect(answer.status, method.name).toBe(method.methodKind === "bidi_streaming" ? 505 : 405);
    }
  }
});

test("what a page of another origin can send without being asked is no call", async () => {
  const simple = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
  for (const contentType of simple) {
    const answer = await http1Call({
      "content-type": contentType,
      authorization: bearer(server.keys.reader),
      origin: "https://evil.example.com",
    });
    expect(answer.status, contentType).toBe(415);
  }
});

test.each([
  "//frostline.v1.ShareService/ListShares",
  "/frostline.v1.ShareService/listShares",
  "/frostline.v1.ShareService/ListShares/",
  "/x/../frostline.v1.ShareService/ListShares",
  "/frostline.v1.ShareService%2FListShares",
  "/livez/../frostline.v1.ShareService/ListShares",
])("%s is no call", async (odd) => {
  expect((await http1Call({ authorization: bearer(server.keys.reader) }, { path: odd })).status).toBe(404);
});

test("a header that is too long is refused, and the next call is not", async () => {
  const long = bearer("a".repeat(9_000));
  expect(await grpcCall(long)).toEqual({ status: "16", reason: "KEY_INVALID" });
  expect((await http1Call({ authorization: long })).status).toBe(401);
  // Node refuses the request as a whole.
  expect((await http1Call({ authorization: bearer("a".repeat(20_000)) })).status).toBe(431);
  expect(await grpcCall(bearer(server.keys.reader))).toEqual({ status: "0", reason: "" });
});

test("each protocol asks for a key, whatever is called", async () => {
  const types = [
    "application/json",
    "application/proto",
    "application/grpc-web+proto",
    "application/connect+json",
    "application/connect+proto",
  ];
  for (const service of services.filter(({ typeName }) => typeName.startsWith("frostline."))) {
    for (const { name, methodKind } of service.methods) {
      for (const contentType of types) {
        // Of Connect, streams and single calls have types of their own.
        const isMeantForStreams = contentType.includes("connect");
        if (!contentType.includes("grpc") && isMeantForStreams === (methodKind === "unary")) continue;
        const body = contentType === "application/json" ? "{}" : contentType === "application/proto" ? "" : "\0\0\0\0\0";
        const answer = await http1Call({ "content-type": contentType }, { path: `/${service.typeName}/${name}`, body });
        const said = `${name} ${contentType}: ${answer.status} ${answer.body}`;
        expect(answer.status === 401 || /^grpc-status: 16/m.test(answer.body) || /"code":"unauthenticated"/.test(answer.body), said).toBe(
          true,
        );
      }
    }
  }
});

test("metrics ask for their secret if there is one, whatever becomes of the database", async () => {
  const file = path.join(scratch.path, "metrics.key");
  await fs.writeFile(file, "short\n");
  const env = { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0", FROSTLINE_METRICS_KEY_FILE: file };
  const start = () => startTestServer({ database: server.database, tenant: server, env });
  await expect(start()).rejects.toThrow(/FROSTLINE_METRICS_KEY_FILE: .* less than 16 characters/);
  await fs.writeFile(file, "a-secret-of-the-monitoring\n");
  const own = await start();
  const read = (authorization?: string, at = "/metrics") =>
    fetch(`${own.httpUrl}${at}`, { headers: authorization === undefined ? {} : { authorization } }).then(({ status }) => status);
  expect(await read()).toBe(401);
  expect(await read(bearer(server.keys.admin))).toBe(401);
  expect(await read(bearer("a-secret-of-the-monitoring"))).toBe(200);
  expect(await read("a-secret-of-the-monitoring")).toBe(401);
  expect(await read(undefined, "/metrics?x")).toBe(401);
  expect([await read(undefined, "/livez"), await read(undefined, "/readyz")]).toEqual([200, 200]);
  await fs.writeFile(file, "another-secret-of-it");
  expect(await read(bearer("a-secret-of-the-monitoring"))).toBe(401);
  expect(await read(bearer("another-secret-of-it"))).toBe(200);
  await own.close();
});
