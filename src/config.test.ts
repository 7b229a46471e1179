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
