/** Bearer tokens of an issuer, beside API keys: who is let in, who is not and why, and what the issuer is asked. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { exportSPKI, importJWK, SignJWT } from "jose";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { loadConfig } from "../src/config.js";
import { PlannerService } from "../src/gen/frostline/v1/planner_pb.js";
import { RuleService } from "../src/gen/frostline/v1/rule_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { KeyScope, TenantService } from "../src/gen/frostline/v1/tenant_pb.js";
import { WarmingService } from "../src/gen/frostline/v1/warming_pb.js";
import { type RunningServer, startServer } from "../src/server/start.js";
import { warmingChannel } from "../src/warming/publish.js";
import { issue } from "./support/certificates.js";
import { frostline } from "./support/command.js";
import { audience, type Issuer, sign, signingKey, startIssuer } from "./support/issuer.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { spawnServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

let database: TestDatabase;
let tenant: TestTenant;
let platform: TestTenant;
let issuer: Issuer;
let server: RunningServer;
let scratch: Scratch;
/** What the server has logged, at the level trace. */
let lines: string[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  tenant = await createTestTenant(database);
  platform = await createTestTenant(database, { isPlatform: true });
  scratch = await scratchDirectory();
  issuer = await startIssuer();
  server = await start({ FROSTLINE_OIDC_JWKS: issuer.jwksUrl, FROSTLINE_OIDC_COOLDOWN_SECONDS: "1" });
});
afterAll(async () => {
  await server?.close();
  await issuer?.close();
  await scratch?.remove();
  await database?.drop();
});
beforeEach(() => {
  lines = [];
});

function start(env: Record<string, string>): Promise<RunningServer> {
  const settings = {
    DATABASE_URL: database.runtimeUrl,
    FROSTLINE_LISTEN: "127.0.0.1:0",
    FROSTLINE_HTTP_LISTEN: "127.0.0.1:0",
    FROSTLINE_OIDC_ISSUER: issuer.url,
    FROSTLINE_OIDC_AUDIENCE: audience,
    // Tests show wrong ones all the time.
    FROSTLINE_FAILED_AUTHENTICATIONS_PER_MINUTE: "10000",
    ...env,
  };
  return startServer({ config: loadConfig(settings), log: pino({ level: "trace" }, { write: (line) => lines.push(line) }) });
}

async function withKey<T>(
  key: string,
  work: (client: ReturnType<typeof createClient>) => Promise<T>,
  address = server.address,
): Promise<T> {
  const client = createClient({ server: address, key });
  return work(client).finally(() => client.close());
}

const listShares = (key: string, address = server.address) =>
  withKey(key, (client) => client.unary(ShareService.method.listShares, {}), address);

const mine = (claims: Record<string, unknown> = {}) => ({ tenant: tenant.code, ...claims });
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const refused = (reason: string) => ({ code: "UNAUTHENTICATED", reason });

test("a token acts for the tenant it names, by code or by id, with the scopes it has", async () => {
  const operator = await issuer.token(mine({ scope: ["operator", "admin-of-something-else"] }));
  await withKey(operator, (client) => client.unary(ShareService.method.createShare, { shareName: "films", sourceType: SourceType.SMB }));
  await expect(listShares(operator)).rejects.toMatchObject({ code: "PERMISSION_DENIED", reason: "SCOPE_MISSING" });
  for (const named of [tenant.code, tenant.tenantId, tenant.tenantId.toUpperCase()]) {
    const { shares } = await listShares(await issuer.token(mine({ tenant: named })));
    expect(shares.map(({ shareName }) => shareName)).toEqual(["films"]);
  }
  expect((await listShares(await issuer.token({ tenant: platform.code }))).shares).toEqual([]);
  // Keys go on beside them.
  expect((await listShares(tenant.keys.reader)).shares).toHaveLength(1);
});

test("without a scope of ours a token may do nothing", async () => {
  for (const scope of ["openid profile", "", [], undefined, 7, { reader: true }, ["reader operator"], "READER"]) {
    const error = { code: "PERMISSION_DENIED", message: expect.stringContaining("this one has none") };
    await expect(listShares(await issuer.token(mine({ scope }))), JSON.stringify(scope)).rejects.toMatchObject(error);
  }
});

test("an admin's token is the platform's only if it names the platform's tenant", async () => {
  const list = (key: string) => withKey(key, (client) => client.unary(TenantService.method.listTenants, {}));
  await expect(list(await issuer.token(mine({ scope: "admin" })))).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
    reason: "NOT_PLATFORM",
  });
  expect((await list(await issuer.token({ tenant: platform.code, scope: "admin" }))).tenants.length).toBeGreaterThan(1);
  await expect(list(await issuer.token({ tenant: platform.code, scope: "reader" }))).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
});

test("an admin's token may revoke the tenant's last admin key: it can make another", async () => {
  const other = await createTestTenant(database);
  const admin = await issuer.token({ tenant: other.code, scope: "admin" });
  await withKey(admin, async (client) => {
    const { keys } = await client.unary(TenantService.method.listKeys, {});
    for (const { keyId } of keys) await client.unary(TenantService.method.revokeKey, { keyId });
    const made = await client.unary(TenantService.method.createKey, { name: "again", scopes: [KeyScope.ADMIN] });
    await withKey(made.secret, (again) => again.unary(TenantService.method.listKeys, {}));
    await client.unary(TenantService.method.revokeKey, { keyId: made.key?.keyId ?? "" });
  });
});

test("records name the token's issuer and subject", async () => {
  const token = await issuer.token(mine({ scope: "operator reader", sub: "auth0|5f7c" }));
  await withKey(token, async (client) => {
    await client.unary(RuleService.method.addHold, { shareName: "films", pathGlob: "/keep/**", reason: "in use" });
    const { holds } = await client.unary(RuleService.method.listHolds, { shareName: "films" });
    expect(holds.map(({ createdBy }) => createdBy)).toEqual([`token ${issuer.url} auth0|5f7c`]);
    await expect(client.unary(PlannerService.method.plan, { shareName: "films", requestId: crypto.randomUUID() })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
    });
  });
});

test("who is refused is told why, and the log says so without any part of the token", async () => {
  const key = issuer.keys[0] as Awaited<ReturnType<typeof signingKey>>;
  const stranger = await signingKey();
  const good = await issuer.token(mine());
  const [head, body, signature] = good.split(".") as [string, string, string];
  const changed = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(body, "base64url").toString()), scope: "admin" })).toString(
    "base64url",
  );
  const publicPem = await exportSPKI((await importJWK({ ...key.publicJwk, ext: true }, key.alg)) as Parameters<typeof exportSPKI>[0]);
  const unsigned = (header: object) => `${Buffer.from(JSON.stringify(header)).toString("base64url")}.${body}.`;
  const hmac = (secret: string) =>
    new SignJWT({ ...mine(), iss: issuer.url, aud: audience, sub: "x", exp: inSeconds(60) })
      .setProtectedHeader({ alg: "HS256", kid: key.kid })
      .sign(Buffer.from(secret));
  const cases: [string, string, string][] = [
    ["expired", "TOKEN_EXPIRED", await issuer.token(mine({ exp: inSeconds(-31) }))],
    ["not yet valid", "TOKEN_NOT_YET_VALID", await issuer.token(mine({ nbf: inSeconds(60) }))],
    ["never expires", "TOKEN_CLAIM_MISSING", await issuer.token(mine({ exp: undefined }))],
    ["expiry is text", "TOKEN_CLAIM_MISSING", await issuer.token(mine({ exp: "soon" }))],
    ["another issuer", "TOKEN_ISSUER", await issuer.token(mine({ iss: `${issuer.url}/` }))],
    ["no issuer", "TOKEN_CLAIM_MISSING", await issuer.token(mine({ iss: undefined }))],
    ["another audience", "TOKEN_AUDIENCE", await issuer.token(mine({ aud: ["somebody", "else"] }))],
    ["no audience", "TOKEN_CLAIM_MISSING", await issuer.token(mine({ aud: undefined }))],
    ["changed", "TOKEN_SIGNATURE", `${head}.${changed}.${signature}`],
    ["another's signature", "TOKEN_SIGNATURE", await sign({ ...stranger, kid: key.kid }, mine({ iss: issuer.url }))],
    ["unknown key", "TOKEN_KEY_UNKNOWN", await sign(stranger, mine({ iss: issuer.url }))],
    ["its own key in the header", "TOKEN_KEY_UNKNOWN", await sign(stranger, mine({ iss: issuer.url }), { jwk: stranger.publicJwk })],
    ["algorithm none", "TOKEN_ALGORITHM", unsigned({ alg: "none" })],
    ["algorithm nOnE", "TOKEN_ALGORITHM", unsigned({ alg: "nOnE", kid: key.kid })],
    ["the public key as a secret", "TOKEN_ALGORITHM", await hmac(publicPem)],
    ["an algorithm that is not allowed", "TOKEN_ALGORITHM", await sign(await signingKey("RS512"), mine({ iss: issuer.url }))],
    ["no tenant", "TOKEN_CLAIM_MISSING", await issuer.token({})],
    ["a list of tenants", "TOKEN_CLAIM_MISSING", await issuer.token({ tenant: [tenant.code, platform.code] })],
    ["unknown tenant", "TOKEN_TENANT_UNKNOWN", await issuer.token({ tenant: "nobody" })],
    ["unknown tenant's id", "TOKEN_TENANT_UNKNOWN", await issuer.token({ tenant: crypto.randomUUID() })],
    ["no subject", "TOKEN_CLAIM_MISSING", await issuer.token(mine({ sub: undefined }))],
    ["a long subject", "TOKEN_CLAIM_MISSING", await issuer.token(mine({ sub: "s".repeat(256) }))],
    ["a line feed in the subject", "TOKEN_MALFORMED", await issuer.token(mine({ sub: "ada\nadmin" }))],
    ["no JSON", "TOKEN_MALFORMED", "eyJ.eyJ.x"],
    ["empty parts", "TOKEN_MALFORMED", ".."],
    ["huge", "TOKEN_TOO_LONG", await issuer.token(mine({ groups: "g".repeat(8_000) }))],
    ["five parts", "KEY_INVALID", `${good}.x.y`],
    ["a key's beginning before it", "TOKEN_MALFORMED", `fl_${good}`],
  ];
  for (const [what, reason, token] of cases) {
    const error = await listShares(token).then(
      () => `${what}: let in`,
      (caught) => caught,
    );
    expect(error, what).toMatchObject(refused(reason));
    for (const part of token.split(".").filter((text) => text.length > 3)) expect(error.message).not.toContain(part);
  }
  const told = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "a call was refused");
  expect(told.map(({ reason }) => reason)).toEqual(cases.map(([, reason]) => reason));
  const log = lines.join("");
  for (const [, , token] of cases) for (const part of token.split(".").filter((text) => text.length > 3)) expect(log).not.toContain(part);
  for (const said of ["ada@example.com", "nobody", stranger.kid]) expect(log).not.toContain(said);
});

test("clocks may differ by as much as is set", async () => {
  expect(await listShares(await issuer.token(mine({ exp: inSeconds(-20) })))).toBeDefined();
  expect(await listShares(await issuer.token(mine({ nbf: inSeconds(20) })))).toBeDefined();
});

test("a token that was taken is refused once it has expired", async () => {
  const token = await issuer.token(mine({ exp: inSeconds(-28) }));
  expect(await listShares(token)).toBeDefined();
  await expect
    .poll(
      () =>
        listShares(token).then(
          () => "let in",
          ({ reason }) => reason,
        ),
      { timeout: 10_000 },
    )
    .toBe("TOKEN_EXPIRED");
});

test("a watch ends when the token that opened it expires", async () => {
  const token = await issuer.token(mine({ exp: inSeconds(-28) }));
  const told: string[] = [];
  let ended: unknown;
  const watch = withKey(token, async (client) => {
    for await (const { message } of client.serverStream(WarmingService.method.watchWarming, {})) told.push(message.case ?? "");
  }).catch((error) => {
    ended = error;
  });
  // It looks when there is news, and every 15 seconds.
  await withClient(database.superuserUrl, (client) =>
    expect
      .poll(() => client.query("SELECT pg_notify($1, $2)", [warmingChannel, tenant.tenantId]).then(() => ended), {
        timeout: 10_000,
        interval: 200,
      })
      .toMatchObject(refused("KEY_NOT_IN_FORCE")),
  );
  await watch;
  expect(told[0]).toBe("progress");
});

/** Not at once: the keys may have been read a moment ago. */
async function untilLetIn(token: string): Promise<void> {
  const answer = () =>
    listShares(token).then(
      () => "let in",
      ({ reason }) => reason,
    );
  await expect.poll(answer, { timeout: 5_000 }).toBe("let in");
}

test("the issuer's new key is taken while the server runs, and an old one refused when it is gone", async () => {
  const old = issuer.keys[0] as (typeof issuer.keys)[0];
  const early = await issuer.token(mine());
  expect(await listShares(early)).toBeDefined();
  const next = await signingKey("RS256");
  issuer.keys = [next, old];
  const token = await issuer.token(mine());
  await untilLetIn(token);
  expect(await listShares(early)).toBeDefined();
  issuer.keys = [next];
  const newest = await signingKey();
  issuer.keys = [newest, next];
  const latest = await issuer.token(mine());
  await untilLetIn(latest);
  // It was verified before; with the keys it was verified by, that is void.
  await expect(listShares(early)).rejects.toMatchObject(refused("TOKEN_KEY_UNKNOWN"));
});

test("tokens with unknown keys, however many, make the server ask the issuer once a second", async () => {
  const stranger = await signingKey();
  const before = issuer.keyRequests();
  const startMs = performance.now();
  const tokens = await Promise.all(
    Array.from({ length: 200 }, (_, n) => sign({ ...stranger, kid: `made-up-${n}` }, mine({ iss: issuer.url }))),
  );
  const reasons = await Promise.all(tokens.map((token) => listShares(token).catch(({ reason }) => reason)));
  expect(new Set(reasons)).toEqual(new Set(["TOKEN_KEY_UNKNOWN"]));
  expect(issuer.keyRequests() - before).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - startMs) / 1000));
  // Tokens of others do not even do that.
  const other = await startIssuer();
  const asked = issuer.keyRequests();
  await expect(listShares(await other.token(mine()))).rejects.toMatchObject(refused("TOKEN_ISSUER"));
  expect([issuer.keyRequests(), other.keyRequests()]).toEqual([asked, 0]);
  await other.close();
});

test("an issuer that is down is UNAVAILABLE, is asked now and then, and is found again", async () => {
  const down = await startIssuer();
  down.status = 503;
  const own = await start({ FROSTLINE_OIDC_ISSUER: down.url, FROSTLINE_OIDC_COOLDOWN_SECONDS: "1" });
  const token = await down.token(mine());
  const error = { code: "UNAVAILABLE", reason: "ISSUER_UNAVAILABLE", retryDelayMs: 1_000 };
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => listShares(token, own.address)));
  for (const result of results) expect(result).toMatchObject({ status: "rejected", reason: error });
  expect(lines.filter((line) => line.includes("cannot be read")).join("")).toContain("it answers 503");
  expect(lines.join("")).not.toContain(token.split(".")[2]);
  const metrics = await (await fetch(`${own.httpUrl}/metrics`)).text();
  expect(metrics).toMatch(/^frostline_issuer_key_reads_total\{outcome="failed"\} [1-9]$/m);
  // Keys need no issuer.
  expect(await listShares(tenant.keys.reader, own.address)).toBeDefined();
  down.status = undefined;
  await expect
    .poll(
      () =>
        listShares(token, own.address).then(
          () => "let in",
          ({ code }) => code,
        ),
      { timeout: 5_000 },
    )
    .toBe("let in");
  // With its keys in hand its absence is noticed only by tokens with a key that is not among them: it may be a new one.
  down.status = 500;
  expect(await listShares(await down.token(mine({ sub: "another" })), own.address)).toBeDefined();
  const rotated = await sign(await signingKey(), mine({ iss: down.url }));
  await expect.poll(() => listShares(rotated, own.address).catch(({ reason }) => reason), { timeout: 5_000 }).toBe("ISSUER_UNAVAILABLE");
  await own.close();
  await down.close();
});

test("a discovery document of another issuer, or with keys in plaintext, is not followed", async () => {
  for (const [discovery, problem] of [
    [{ issuer: "https://evil.example.com" }, "speaks of another issuer"],
    [{ jwks_uri: "http://keys.example.com/" }, "no jwks_uri that is an https:// URL"],
  ] as const) {
    const odd = await startIssuer();
    odd.discovery = discovery;
    const own = await start({ FROSTLINE_OIDC_ISSUER: odd.url });
    await expect(listShares(await odd.token(mine()), own.address)).rejects.toMatchObject({ reason: "ISSUER_UNAVAILABLE" });
    expect(lines.join("")).toContain(problem);
    expect(odd.keyRequests()).toBe(0);
    await own.close();
    await odd.close();
  }
});

test("keys in a file are read again when they change", { timeout: 30_000 }, async () => {
  const file = path.join(scratch.path, "keys.json");
  const [first, second] = [await signingKey(), await signingKey("EdDSA")];
  const write = (text: string) => fs.writeFile(`${file}.new`, text).then(() => fs.rename(`${file}.new`, file));
  await write("{}");
  const env = { FROSTLINE_OIDC_ISSUER: "not a URL", FROSTLINE_OIDC_JWKS: file, FROSTLINE_OIDC_ALGORITHMS: "ES256,EdDSA" };
  await expect(start(env)).rejects.toThrow(/not a JSON Web Key Set/);
  await expect(start({ ...env, FROSTLINE_OIDC_JWKS: "/nowhere.json" })).rejects.toThrow(/FROSTLINE_OIDC_JWKS cannot be read: ENOENT/);
  await write(JSON.stringify({ keys: [first.publicJwk] }));
  const own = await start(env);
  const call = async (key: typeof first) =>
    listShares(await sign(key, mine({ iss: "not a URL", nonce: crypto.randomUUID() })), own.address).then(
      () => "let in",
      ({ reason }) => reason,
    );
  expect([await call(first), await call(second)]).toEqual(["let in", "TOKEN_KEY_UNKNOWN"]);
  await write(JSON.stringify({ keys: [second.publicJwk] }));
  await expect.poll(() => call(second), { timeout: 10_000 }).toBe("let in");
  expect(await call(first)).toBe("TOKEN_KEY_UNKNOWN");
  await own.close();
});

test("claims, scopes and their prefix are named as the issuer names them", async () => {
  const own = await start({
    FROSTLINE_OIDC_TENANT_CLAIM: "https://frostline.example/tenant",
    FROSTLINE_OIDC_SCOPE_CLAIM: "roles",
    FROSTLINE_OIDC_SCOPE_PREFIX: "frostline:",
  });
  const named = (roles: unknown) => issuer.token({ "https://frostline.example/tenant": tenant.code, roles });
  expect(await listShares(await named(["frostline:reader"]), own.address)).toBeDefined();
  await expect(listShares(await named(["reader"]), own.address)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  await expect(listShares(await issuer.token(mine()), own.address)).rejects.toMatchObject({
    reason: "TOKEN_CLAIM_MISSING",
    metadata: { claim: "https://frostline.example/tenant" },
  });
  await own.close();
});

test("a tenant that is to be erased is out of reach by token within seconds", { timeout: 30_000 }, async () => {
  const gone = await createTestTenant(database);
  const token = await issuer.token({ tenant: gone.code });
  expect(await listShares(token)).toBeDefined();
  await withClient(database.superuserUrl, (client) =>
    client.query("INSERT INTO erasure (tenant_id, kind, erased_tenant_id, requested_by) VALUES ($1, 'TENANT', $2, 'test')", [
      platform.tenantId,
      gone.tenantId,
    ]),
  );
  await expect.poll(() => listShares(token).catch(({ reason }) => reason), { timeout: 15_000 }).toBe("TOKEN_TENANT_UNKNOWN");
});

test("a server that takes no tokens says so", async () => {
  const own = await start({ FROSTLINE_OIDC_ISSUER: "", FROSTLINE_OIDC_AUDIENCE: "" });
  await expect(listShares(await issuer.token(mine()), own.address)).rejects.toMatchObject(refused("TOKENS_NOT_TAKEN"));
  await own.close();
});

test("commands take a token for a key; the issuer may be an https server with an authority of one's own", async () => {
  const authority = issue("authority");
  const secure = await startIssuer(issue("issuer", { issuer: authority }));
  const ca = path.join(scratch.path, "authority.crt");
  await fs.writeFile(ca, authority.cert);
  const own = await spawnServer({
    database,
    tenant,
    env: { FROSTLINE_OIDC_ISSUER: secure.url, FROSTLINE_OIDC_AUDIENCE: audience, NODE_EXTRA_CA_CERTS: ca, FROSTLINE_LOG_LEVEL: "trace" },
  });
  const token = await secure.token(mine());
  const call = (env: Record<string, string>, ...options: string[]) =>
    frostline(["share", "list", "--json", "--server", own.address, ...options], { env });
  expect(await call({ FROSTLINE_KEY: token })).toMatchObject({ status: 0, stdout: expect.stringContaining("films") });
  expect(await call({}, "--key", token)).toMatchObject({ status: 0, stdout: expect.stringContaining("films") });
  const expired = await secure.token(mine({ exp: inSeconds(-60) }));
  const late = await call({ FROSTLINE_KEY: expired });
  expect(late).toMatchObject({ status: 1, stderr: expect.stringMatching(/token has expired/) });
  for (const part of `${token}.${expired}`.split(".")) expect(`${own.output()}${late.stderr}`).not.toContain(part);
  await own.close();
  await secure.close();
});
