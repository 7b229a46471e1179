/** Agents that begin while the server is up and its database is not: at night nobody starts them again. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { frostline } from "./support/command.js";
import { withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";

let server: TestServer;
let scratch: Scratch;
beforeAll(async () => {
  server = await startTestServer({ env: { FROSTLINE_LOG_LEVEL: "silent" } });
  scratch = await scratchDirectory();
  await fs.writeFile(path.join(scratch.path, "a"), "a");
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

/** Runs `work` while nobody can connect to the database; what it is given lets them in again. */
async function whileAway<T>(work: (back: () => Promise<void>) => Promise<T>): Promise<T> {
  return withClient(server.database.superuserUrl, async (superuser) => {
    const { rows } = await superuser.query<{ name: string }>("SELECT quote_ident(current_database()) AS name");
    const limit = async (connections: number) =>
      void (await superuser.query(`ALTER DATABASE ${rows[0]?.name} CONNECTION LIMIT ${connections}`));
    await limit(0);
    await superuser.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    return work(() => limit(-1)).finally(() => limit(-1));
  });
}

const run = (args: string[], onWaiting: (stop: () => void) => void) =>
  frostline(args, {
    env: { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: server.keys.admin },
    started: (child) =>
      child.stderr?.on("data", (text: string) => {
        if (text.includes("not ready")) onWaiting(() => child.kill("SIGINT"));
      }),
  });

test.each([["scan"], ["audit"]])("%s waits for the database, and says so", async (command) => {
  const share = `share of ${command}`;
  if (command === "audit") await run(["scan", scratch.path, "--share", share, "--type", "LucidLink"], () => {});
  const { status, stderr } = await whileAway((back) => run([command, scratch.path, "--share", share], () => void back()));
  // An audit trail without a log is a warning.
  expect(status, stderr).toBe(command === "scan" ? 0 : 3);
  expect(stderr).toContain("not ready");
});

test("Ctrl-C ends the waiting", async () => {
  const { status, stderr } = await whileAway(() => run(["scan", scratch.path, "--share", "never"], (stop) => stop()));
  expect(status).toBe(1);
  expect(stderr).toContain("Stopped before anything was sent.");
});
