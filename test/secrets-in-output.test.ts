/** The search of all servers' output for secrets (support/watched-output.ts) finds what it is for. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { ShareService } from "../src/gen/frostline/v1/share_pb.js";
import { createLogger } from "../src/log.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { rememberSecret, secretsIn } from "./support/secrets.js";
import { spawnServer, startTestServer } from "./support/server.js";
import { watchedLog, watchOutput } from "./support/watched-output.js";

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database?.drop());

test("keys, passwords, tokens and bytes in any spelling, from 12 characters on", () => {
  const bytes = randomBytes(32);
  rememberSecret("some bytes", bytes);
  const password = new URL(database.runtimeUrl).password;
  const encoded = (json: object) => Buffer.from(JSON.stringify(json)).toString("base64url");
  const told = [
    bytes.toString("hex").slice(0, 12),
    bytes.toString("base64"),
    JSON.stringify({ key: [...bytes] }),
    password.slice(0, 12),
    `key fl_${randomBytes(9).toString("base64url")}`,
    database.superuserUrl,
    `whsec_${randomBytes(24).toString("base64")}`,
    `${encoded({ alg: "RS256" })}.${encoded({ sub: "x" })}.`,
  ];
  for (const text of told) expect(secretsIn(`before ${text} after`)).toHaveLength(1);
  for (const text of [password.slice(0, 11), "fl_", "an API key", bytes.toString("hex").slice(1)]) expect(secretsIn(text)).toEqual([]);
});

test("a server that tells one in an error cannot be closed without an error", async () => {
  const server = await startTestServer({ database });
  const shareName = "no such share's name";
  rememberSecret("a made-up secret", shareName);
  const client = createClient({ server: server.address, key: server.keys.reader });
  await expect(client.unary(ShareService.method.getShare, { shareName })).rejects.toThrow(shareName);
  client.close();
  await expect(server.close()).rejects.toThrow("an error has a made-up secret");
});

test("nor one that measures one", async () => {
  const server = await startTestServer({ database });
  rememberSecret("another secret", "measured secret");
  server.metrics.gauge("frostline_test", "A measured secret.", () => 1);
  await expect(server.close()).rejects.toThrow("a metric has another secret");
});

test("nor one that logs one, be it too minor to be shown", async () => {
  const output = watchOutput();
  const log = createLogger("trace", { destination: watchedLog(output, "warn") });
  log.debug({ method: "x" }, "call");
  output.assertNone();
  log.debug({ url: database.runtimeUrl }, "call");
  expect(output.assertNone).toThrow("a log line has the runtime role's password");
});

test("nor one in a process of its own", async () => {
  const server = await spawnServer({ database });
  rememberSecret("an address", server.address);
  await expect(server.close()).rejects.toThrow("a server's output has an address");
});
