import { expect, test } from "vitest";
import { loadConfig } from "./config.js";

test("defaults: embedded database, loopback", () => {
  expect(loadConfig({ DATABASE_URL: "", PATH: "/bin" })).toMatchObject({
    databaseUrl: undefined,
    listen: { host: "127.0.0.1", port: 50051 },
    logLevel: "info",
    queryPoolMax: 10,
    ingestPoolMax: 8,
    maintenanceIntervalMs: 3_600_000,
    auditKeepDays: 7,
    prefetchIsAccess: false,
  });
});

test("IPv6 addresses stand in brackets", () => {
  expect(loadConfig({ FROSTLINE_LISTEN: "[::1]:0" }).listen).toEqual({ host: "::1", port: 0 });
});

test.each([
  ["FROSTLINE_LISTEN", "127.0.0.1"],
  ["FROSTLINE_LISTEN", "127.0.0.1:70000"],
  ["FROSTLINE_LISTEN", "::1:50051"],
  ["FROSTLINE_LOG_LEVEL", "loud"],
  ["FROSTLINE_QUERY_POOL", "0"],
  ["FROSTLINE_INGEST_POOL", "-1"],
  ["FROSTLINE_ALLOW_PLAINTEXT", "yes"],
  ["FROSTLINE_MAINTENANCE_SECONDS", "0"],
  ["FROSTLINE_AUDIT_KEEP_DAYS", "1.5"],
  ["FROSTLINE_PREFETCH_IS_ACCESS", "true"],
  ["FROSTLINE_HTTP_LISTEN", "9090"],
  ["FROSTLINE_CORS_ORIGINS", "https://a.example, b.example"],
  ["FROSTLINE_CORS_ORIGINS", "https://a.example/page"],
  ["FROSTLINE_KEEPALIVE_SECONDS", "0"],
  ["FROSTLINE_CONNECTION_MAX_AGE_SECONDS", "0"],
  ["FROSTLINE_STOP_DELAY_SECONDS", "601"],
  ["FROSTLINE_OIDC_ALGORITHMS", "none"],
  ["FROSTLINE_OIDC_ALGORITHMS", "RS256,HS256"],
  ["FROSTLINE_OIDC_ALGORITHMS", "RS256,"],
  ["FROSTLINE_OIDC_CLOCK_SECONDS", "301"],
  ["FROSTLINE_OIDC_COOLDOWN_SECONDS", "0"],
  ["FROSTLINE_DRAIN_SECONDS", "0"],
])("a bad %s is named with what is expected", (name, value) => {
  expect(() => loadConfig({ [name]: value })).toThrow(new RegExp(`${name}: expected`));
});

test("a bad DATABASE_URL is refused without showing its password", () => {
  expect(() => loadConfig({ DATABASE_URL: "mysql://root:hunter2@db/x" })).toThrow(/DATABASE_URL: expected postgres:/);
  expect(() => loadConfig({ DATABASE_URL: "mysql://root:hunter2@db/x" })).not.toThrow(/hunter2/);
});

test("plaintext beyond the machine has to be asked for", () => {
  expect(() => loadConfig({ FROSTLINE_LISTEN: "0.0.0.0:50051" })).toThrow(/FROSTLINE_ALLOW_PLAINTEXT/);
  expect(loadConfig({ FROSTLINE_LISTEN: "0.0.0.0:50051", FROSTLINE_ALLOW_PLAINTEXT: "1" }).listen.host).toBe("0.0.0.0");
});

test("plaintext beyond the machine is for servers without TLS, on either port", () => {
  const tls = { FROSTLINE_TLS_CERT: "server.crt", FROSTLINE_TLS_KEY: "server.key" };
  expect(loadConfig({ ...tls, FROSTLINE_LISTEN: "0.0.0.0:50051" }).tls).toEqual({
    cert: "server.crt",
    key: "server.key",
    clientCa: undefined,
  });
  expect(() => loadConfig({ FROSTLINE_HTTP_LISTEN: "0.0.0.0:9090" })).toThrow(/FROSTLINE_HTTP_LISTEN: is not a loopback address/);
  expect(loadConfig({ ...tls, FROSTLINE_HTTP_LISTEN: "0.0.0.0:9090" }).httpListen).toEqual({ host: "0.0.0.0", port: 9090 });
});

test("half of TLS is refused: it would be plaintext by mistake", () => {
  expect(() => loadConfig({ FROSTLINE_TLS_CERT: "server.crt" })).toThrow(/FROSTLINE_TLS_KEY: is not set/);
  expect(() => loadConfig({ FROSTLINE_TLS_CLIENT_CA: "clients.crt" })).toThrow(/FROSTLINE_TLS_CERT: is not set/);
});

test("tokens are of one issuer, for one audience, with keys from a safe place", () => {
  const oidc = { FROSTLINE_OIDC_ISSUER: "https://id.example.com/realm/", FROSTLINE_OIDC_AUDIENCE: "frostline" };
  expect(loadConfig({}).tokens).toBeUndefined();
  expect(loadConfig(oidc).tokens).toMatchObject({
    keys: { kind: "discovery", url: "https://id.example.com/realm/.well-known/openid-configuration" },
    algorithms: ["RS256", "ES256"],
    clockToleranceSeconds: 30,
  });
  const jwks = (value: string) => loadConfig({ ...oidc, FROSTLINE_OIDC_ISSUER: "id", FROSTLINE_OIDC_JWKS: value }).tokens?.keys;
  expect(jwks("/etc/keys.json")).toEqual({ kind: "file", path: "/etc/keys.json" });
  for (const url of ["https://id.example.com/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys", "http://[::1]/keys"]) {
    expect(jwks(url)).toEqual({ kind: "url", url });
  }
  for (const url of [
    "http://id.example.com/keys",
    "http://127.0.0.1.example.com/keys",
    "file:///etc/keys.json",
    "http://localhost@example.com/",
  ]) {
    expect(() => jwks(url), url).toThrow(/FROSTLINE_OIDC_JWKS: expected a file or an https:\/\/ URL/);
  }
  expect(() => loadConfig({ FROSTLINE_OIDC_AUDIENCE: "frostline" })).toThrow(/FROSTLINE_OIDC_ISSUER: is not set/);
  expect(() => loadConfig({ FROSTLINE_OIDC_ISSUER: "https://id.example.com" })).toThrow(/FROSTLINE_OIDC_AUDIENCE: is not set/);
  expect(() => loadConfig({ ...oidc, FROSTLINE_OIDC_ISSUER: "id" })).toThrow(/FROSTLINE_OIDC_ISSUER: is not an https:\/\/ URL/);
});

test("origins are a list", () => {
  expect(loadConfig({}).corsOrigins).toEqual([]);
  expect(loadConfig({ FROSTLINE_CORS_ORIGINS: "https://a.example, http://localhost:5173" }).corsOrigins).toEqual([
    "https://a.example",
    "http://localhost:5173",
  ]);
});
