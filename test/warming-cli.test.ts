/** `frostline warming`, run as a user runs it. */
import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { frostline, jsonLines } from "./support/command.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";
import { createWarmedShare, look, pushAccesses, type WarmedShare } from "./support/warmed-share.js";

let database: TestDatabase;
let server: TestServer;
let share: WarmedShare;
beforeAll(async () => {
  database = await createTestDatabase();
  const tenant = await createTestTenant(database);
  server = await startTestServer({ database, tenant });
  share = await createWarmedShare(server, tenant, { files: 4 });
});
afterAll(async () => {
  await server?.close();
  await database?.drop();
});

const env = (scope: "reader" | "operator" = "reader") => ({ FROSTLINE_SERVER: server.address, FROSTLINE_KEY: share.tenant.keys[scope] });
const minuteMs = 60_000;
/** Of events that are told of in order. */
const beginMs = Math.floor(Date.now() / minuteMs - 30) * minuteMs;

test("lists accesses and storms, as columns and as JSON, and sets a share's limit", async () => {
  const set = await frostline(["warming", "limit", "2", "--share", "warmed"], { env: env("operator") });
  expect(set).toMatchObject({ status: 0, stdout: "More than 2 tiered files a minute are a storm on warmed.\n" });
  const shares = await frostline(["share", "list", "--json"], { env: env() });
  expect(jsonLines(shares.stdout)).toMatchObject([{ shareName: "warmed", stormFilesPerMinute: 2 }]);
  const [first] = share.paths as [string];
  await pushAccesses(share, [{ path: first, user: "ann\u001b[2J", host: "desk", timeMs: beginMs }]);
  await pushAccesses(
    share,
    share.paths.map((path, i) => ({ path, user: "scan", timeMs: beginMs + 10 * minuteMs + i })),
  );

  const list = await frostline(["warming", "list", "--share", "warmed", "--path", "/reel/take 0.mov"], { env: env() });
  expect(list.status).toBe(0);
  expect(list.stdout.split("\n").map((line) => line.trimEnd())).toEqual([
    "  POSITION  ACCESSED                  USER                  HOST                  SHARE  PATH",
    `         1  ${new Date(beginMs).toISOString()}  ann\\x1b[2J            desk                  warmed  /reel/take 0.mov`,
    expect.stringMatching(/^ {9}3 {2}.* scan {18}desk {18}warmed {2}\/reel\/take 0\.mov {2}\(in a storm\)$/),
    "",
  ]);
  const byUser = await frostline(["warming", "--json", "--user", "scan", "--limit", "3"], { env: env() });
  expect(jsonLines<{ position: string; user: string }>(byUser.stdout).map(({ position, user }) => [position, user])).toEqual([
    ["3", "scan"],
    ["4", "scan"],
    ["5", "scan"],
  ]);
  const since = await frostline(["warming", "list", "--json", "--since", new Date(beginMs + minuteMs).toISOString()], { env: env() });
  expect(jsonLines(since.stdout)).toHaveLength(4);
  const storms = await frostline(["warming", "storms", "--json"], { env: env() });
  expect(jsonLines(storms.stdout)).toMatchObject([
    { position: "2", shareName: "warmed", files: "4", filesPerMinuteLimit: "2", accesses: "4" },
  ]);
  expect((await frostline(["warming", "storms"], { env: env() })).stdout).toMatch(
    /^ {2}POSITION {2}BEGAN.*\n {9}2 {2}\S+ {2}\S+ +4 +2 +4 {2}warmed\n$/,
  );
});

test("says what was wrong, with the exit status for it", async () => {
  expect(await frostline(["warming", "list", "--share", "none"], { env: env() })).toMatchObject({ status: 1, stdout: "" });
  expect(await frostline(["warming", "watch", "--after", "-1"], { env: env() })).toMatchObject({ status: 2, stdout: "" });
  expect(await frostline(["warming", "limit", "0", "--share", "warmed"], { env: env("operator") })).toMatchObject({ status: 2 });
  const unknown = await frostline(["warming", "watch", "--after", "999"], { env: env() });
  expect(unknown).toMatchObject({ status: 1, stdout: "" });
  expect(unknown.stderr).toContain("after_position is 999; the newest is 6.");
});

test("watches: every event once, over a stop of the server, until interrupted; the last word is where to go on", {
  timeout: 60_000,
}, async () => {
  let child: ChildProcess | undefined;
  const lines: string[] = [];
  let words = "";
  const watching = frostline(["warming", "watch", "--json", "--after", "0"], {
    env: env(),
    started: (process) => {
      child = process;
      process.stdout?.on("data", (text: string) => lines.push(...text.trimEnd().split("\n")));
      process.stderr?.on("data", (text: string) => {
        words += text;
      });
    },
  });
  await expect.poll(() => lines.length, { timeout: 20_000 }).toBe(6);
  const { address, tenantId, code, keys } = server;
  await server.close();
  await expect.poll(() => words, { timeout: 20_000 }).toContain("Going on behind position 6 when the server is back.");
  server = await startTestServer({ database, tenant: { tenantId, code, keys }, env: { FROSTLINE_LISTEN: address } });
  await pushAccesses(
    share,
    share.paths.map((path, i) => ({ path, timeMs: beginMs + 20 * minuteMs + i * 40_000 })),
  );
  await expect.poll(() => lines.length, { timeout: 20_000 }).toBe(10);
  child?.kill("SIGINT");
  const { status, stdout, stderr } = await watching;
  expect(status).toBe(1);
  expect(stderr).toContain("Stopped. Go on from here with --after 10.");
  const told = jsonLines<{ event?: { position: string }; storm?: { position: string } }>(stdout);
  const stored = await look<{ position: string }>(
    share,
    "SELECT position FROM warming_event WHERE tenant_id = $1 UNION ALL SELECT position FROM warming_storm WHERE tenant_id = $1 ORDER BY position",
  );
  expect(told.map(({ event, storm }) => (event ?? storm)?.position)).toEqual(stored.map(({ position }) => position));
  expect(told.filter(({ storm }) => storm)).toHaveLength(1);
});
