/** `frostline verify` finds what is broken, and only that. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { invariants } from "../src/verify/invariants.js";
import type { Violation } from "../src/verify/verify.js";
import { frostline, jsonLines } from "./support/command.js";
import { chunkOf, fileRecord, type IngestFixture, ingestFixture, listing } from "./support/ingest.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { program } from "./support/program.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { createTestTenant } from "./support/tenant.js";

let database: TestDatabase;
let fixture: IngestFixture;
let scratch: Scratch;
let shareId: bigint;

beforeAll(async () => {
  scratch = await scratchDirectory();
  await fs.chmod(scratch.path, 0o755);
  database = await databaseToBreak();
  fixture = await ingestFixture(database, (await createTestTenant(database)).tenantId);
  shareId = await fixture.createShare("films");
  await scanTwice(fixture);
});
afterAll(async () => {
  await fixture?.close();
  await database?.drop();
  await scratch?.remove();
});

/** With a month of the audit log that is not attached to it. */
async function databaseToBreak(): Promise<TestDatabase> {
  const made = await createTestDatabase();
  await withClient(made.superuserUrl, (client) => client.query("CREATE TABLE audit_log_199912 (LIKE audit_log)"));
  return made;
}

/** The second time one of two files is gone. */
async function scanTwice(of: IngestFixture): Promise<void> {
  const file = { sizeBytes: 7n, mtimeUnix: 5n, atimeUnix: 6n, ctimeUnix: 5n, frn: 1n };
  const [kept, dropped] = [fileRecord("kept", file), fileRecord("dropped", { ...file, frn: 2n })];
  for (const records of [[kept, dropped], [kept]]) {
    const { scanId } = await of.start("films");
    await of.push(scanId, [chunkOf(0, [listing("/", []), listing("/a", records), listing("/empty", [])])]);
    await of.finish(scanId, { main: 1n });
  }
}

function verify(args: string[], env: Record<string, string> = { DATABASE_URL: database.runtimeUrl }) {
  return frostline(["verify", ...args], { env });
}

test("all is well after two scans", async () => {
  const words = `All ${invariants.length} invariants hold for 1 tenant.\n`;
  expect(await verify([])).toEqual({ status: 0, stdout: words, stderr: "" });
  expect(await verify(["--json"])).toEqual({ status: 0, stdout: "", stderr: words });
});

/** An object of the file `kept`, and warming events of it: what stands behind `VALUES`, as (position, share, event, in_storm). */
function warmed(values: string, prunedTo = 0): string {
  return `WITH t AS (
      INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by)
      SELECT $1, $2, file_current_id, 's3://x', 'STUBBED', 'test' FROM file_current WHERE tenant_id = $1 AND share_id = $2 AND name = 'kept' RETURNING *
    ), given AS (
      INSERT INTO warming_position VALUES ($1, 2, ${prunedTo})
    )
    INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_id, in_storm, event_utc, recorded_utc)
    SELECT t.tenant_id, e.position, t.tier_id, t.share_id + e.other_share, e.event_id, e.in_storm, now(), now()
    FROM t, (VALUES ${values}) AS e (position, other_share, event_id, in_storm)`;
}

/** A plan of `files` files with the funnels of these rules. */
function planOf(files: number, rules: string): string {
  return `INSERT INTO tier_plan (tenant_id, share_id, plan_no, request_id, scan_id, now_unix, planned_by, brake_confirmed, planned_files, planned_bytes,
      planned_allocated_bytes, funnel)
    SELECT $1, $2, 1, gen_random_uuid(), (SELECT max(scan_id) FROM scan WHERE tenant_id = $1 AND share_id = $2), 0, 'test', false, ${files}, 0, 0,
      '{"planned": {"files": "${files}"}, "rules": ${rules}}'`;
}

/** A webhook; `delivery`, if any, are the values of a message to it: type, first and last position, state. */
function webhook({ position = 0, secret = "", disabled = false, delivery = "" }): string {
  const made = `INSERT INTO webhook (tenant_id, url, description, event_types, share_id, include_paths, include_people, secret, warming_position, created_by, disabled_utc, disabled_reason)
    SELECT $1, 'https://hooks.example.com/', '', '{scan.stale}', $2, false, false, coalesce(nullif('${secret}', ''), 's1.' || greatest(dek_no, 1) || '.x'), ${position}, 'test',
      ${disabled ? "now(), 'asked for'" : "NULL, NULL"} FROM tenant WHERE tenant_id = $1`;
  if (delivery === "") return made;
  return `WITH w AS (${made} RETURNING webhook_id)
    INSERT INTO webhook_delivery (tenant_id, webhook_id, share_id, event_type, from_position, to_position, state, next_attempt_utc)
    SELECT $1, webhook_id, $2, ${delivery}, now() FROM w`;
}

/** For each invariant something that breaks it; $1 is the tenant, $2 the share. */
const breakage: Record<string, string> = {
  "file_current-dir": "UPDATE file_current SET dir_id = -1 WHERE tenant_id = $1 AND share_id = $2 AND name = 'kept'",
  "file_current-scan": "UPDATE file_current SET first_seen_scan_id = 99999 WHERE tenant_id = $1 AND share_id = $2",
  "file_current-times": "UPDATE file_current SET atime_unix = 1 WHERE tenant_id = $1 AND share_id = $2",
  "file_current-range": "UPDATE file_current SET mtime_unix = 253402300800 WHERE tenant_id = $1 AND share_id = $2",
  "dir-parent": "UPDATE dir SET parent_dir_id = NULL WHERE tenant_id = $1 AND share_id = $2",
  "file-references": "UPDATE file SET dir_id = -1 WHERE tenant_id = $1 AND share_id = $2 AND name = 'dropped'",
  "file-identity": "DELETE FROM file_current WHERE tenant_id = $1 AND share_id = $2 AND name = 'dropped'",
  "history-live": "UPDATE file_current SET size_bytes = size_bytes + 1 WHERE tenant_id = $1 AND share_id = $2 AND name = 'kept'",
  "history-gone": "UPDATE file_current SET missing_since_scan_id = NULL WHERE tenant_id = $1 AND share_id = $2 AND name = 'dropped'",
  "missing-directory":
    "UPDATE dir SET missing_since_scan_id = last_listed_scan_id WHERE tenant_id = $1 AND share_id = $2 AND dir_path = '/a'",
  ledger: "DELETE FROM ingest_chunk WHERE tenant_id = $1 AND $2::bigint IS NOT NULL",
  "ledger-writer": "UPDATE ingest_chunk SET writer = 'other' WHERE tenant_id = $1 AND $2::bigint IS NOT NULL",
  "scan-counts": "UPDATE scan SET added = added + 1 WHERE tenant_id = $1 AND share_id = $2",
  "scan-problems": "UPDATE scan SET refused = 1 WHERE tenant_id = $1 AND share_id = $2",
  "share-last-scan": "UPDATE share SET last_complete_scan_id = NULL WHERE tenant_id = $1 AND share_id = $2",
  "tier_object-file": `WITH other AS (INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, 'other', 'NTFS', false) RETURNING *)
    INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by)
    SELECT $1, other.share_id, c.file_current_id, 's3://x', 'PLANNED', 'test' FROM other, file_current c WHERE c.tenant_id = $1 AND c.share_id = $2 AND c.name = 'kept'`,
  "tier_object-wanted": `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by)
    SELECT $1, $2, file_current_id, 's3://x', 'PLANNED', 'test' FROM file_current WHERE tenant_id = $1 AND share_id = $2 AND name = 'kept'`,
  "tier_object-stub": `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by)
    SELECT $1, $2, file_current_id, 's3://x', 'STUBBED', 'test' FROM file_current WHERE tenant_id = $1 AND share_id = $2 AND name = 'kept'`,
  "tier_object-plan": `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by, plan_id)
    SELECT $1, $2, file_current_id, 's3://x', 'DELETED', 'test', 99999 FROM file_current WHERE tenant_id = $1 AND share_id = $2 AND name = 'kept'`,
  "tier_plan-objects": `WITH p AS (${planOf(0, "[]")} RETURNING plan_id)
    INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, planned_by, plan_id)
    SELECT $1, $2, file_current_id, 's3://x', 'DELETED', 'test', p.plan_id FROM p, file_current WHERE tenant_id = $1 AND share_id = $2 AND name = 'kept'`,
  "tier_plan-funnel": planOf(
    1,
    `[{"matched": {"files": "3"}, "excluded": {"held": {"files": "1"}}, "taken": {"files": "0"}, "capped": {"files": "0"}, "planned": {"files": "1"}}]`,
  ),
  "warming_event-object": warmed("(1, 1, 'a', false)"),
  "warming-positions": warmed("(3, 0, 'a', false)"),
  "warming_event-once": warmed("(1, 0, 'a', false), (2, 0, 'a', false)"),
  "warming_event-storm": warmed("(1, 0, 'a', true)"),
  "audit_log-share": `INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source) SELECT $1, 'access', 0, 1, 'test' WHERE $2::bigint > 0`,
  "audit_log-file": "INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source) VALUES ($1, 'access', $2, 0, 'test')",
  "audit_log-month":
    "INSERT INTO audit_log (tenant_id, kind, share_id, file_current_id, source, recorded_utc) VALUES ($1, 'access', $2, 1, 'test', '1999-12-31Z')",
  "lucid_audit_cursor-share":
    "INSERT INTO lucid_audit_cursor (tenant_id, volume_id, audit_file_path) SELECT $1, 'of 0 shares', 'a.log' WHERE $2::bigint > 0",
  "lucid_audit_processed-cursor": `WITH volume AS (UPDATE share SET volume_id = 'v' WHERE tenant_id = $1 AND share_id = $2), cursor AS (
      INSERT INTO lucid_audit_cursor (tenant_id, volume_id, audit_file_path, generation) VALUES ($1, 'v', 'a.log', 1)
    )
    INSERT INTO lucid_audit_processed (tenant_id, volume_id, audit_event_id)
    SELECT $1, 'v', translate(left(encode(sha256('a.log'), 'base64'), 16), '+/', '-_') || ':2:0:x'`,
  "purged-scans":
    "UPDATE scan SET history_purged_utc = now() WHERE tenant_id = $1 AND scan_id = (SELECT max(scan_id) FROM scan WHERE tenant_id = $1 AND share_id = $2)",
  "purged-versions":
    "UPDATE share SET history_purged_to_scan_id = (SELECT max(scan_id) FROM scan WHERE tenant_id = $1 AND share_id = $2) WHERE tenant_id = $1 AND share_id = $2",
  "warming-pruned": warmed("(1, 0, 'a', false)", 1),
  "webhook-secret": webhook({ secret: "plain" }),
  "webhook-position": webhook({ position: 5 }),
  "webhook_delivery-disabled": webhook({ disabled: true, delivery: "'scan.stale', NULL, NULL, 'PENDING'" }),
  "webhook_delivery-positions": webhook({ delivery: "'scan.stale', 1, 1, 'PENDING'" }),
  "staging-empty": "INSERT INTO staging_dir (tenant_id, dir_id, complete, unreadable) VALUES ($1, $2, true, false)",
};

test("there is a breakage here for each invariant", () => {
  expect(Object.keys(breakage).sort()).toEqual(invariants.map(({ name }) => name).sort());
});

test.each(Object.entries(breakage))("%s: its statement finds a broken row", async (name, sql) => {
  const statement = invariants.find((invariant) => invariant.name === name)?.sql as string;
  const found = await withClient(database.superuserUrl, async (client) => {
    await client.query("BEGIN");
    const { rows: before } = await client.query(statement, [fixture.tenantId]);
    const { rowCount } = await client.query(sql, [fixture.tenantId, shareId]);
    const { rows: after } = await client.query<{ row: string }>(statement, [fixture.tenantId]);
    await client.query("ROLLBACK");
    return { before, rowCount, after };
  });
  expect(found.before).toEqual([]);
  expect(found.rowCount).toBeGreaterThan(0);
  expect(found.after[0]?.row).toEqual(expect.any(String));
});

test("in a database in which each is broken, of a tenant of its own, the command names each, with keys", async () => {
  const other = await databaseToBreak();
  try {
    const sound = await brokenTenant(other, undefined);
    const tenants = new Map<string, string>();
    for (const [name, sql] of Object.entries(breakage)) tenants.set(await brokenTenant(other, sql), name);
    const { status, stdout } = await verify(["--json"], { DATABASE_URL: other.runtimeUrl });
    expect(status).toBe(1);
    const violations = jsonLines<Violation>(stdout);
    expect(tenants.size).toBe(invariants.length);
    for (const [tenantId, name] of tenants) {
      const [found] = violations.filter((violation) => violation.tenantId === tenantId && violation.invariant === name);
      expect(found?.rows[0], name).toMatch(/\d/);
    }
    expect(violations.filter(({ tenantId }) => tenantId === sound)).toEqual([]);
  } finally {
    await other.drop();
  }
});

/** A tenant that was scanned twice, and then something was done to it. */
async function brokenTenant(other: TestDatabase, sql: string | undefined): Promise<string> {
  const { tenantId } = await createTestTenant(other);
  const of = await ingestFixture(other, tenantId);
  try {
    const share = await of.createShare("films");
    await scanTwice(of);
    if (sql !== undefined) await of.look(sql, [tenantId, share]);
  } finally {
    await of.close();
  }
  return tenantId;
}

test("a broken row is reported with its tenant and its values, and the status is 1", async () => {
  const change = (by: number) => fixture.look("UPDATE file_current SET size_bytes = size_bytes + $1::bigint WHERE name = 'kept'", [by]);
  await change(1);
  try {
    const words = await verify([]);
    expect(words.status).toBe(1);
    expect(words.stdout).toMatch(/^BROKEN {2}t-[0-9a-f]+ {2}history-live: .*\n {8}dir \d+ name kept: .*\n$/);
    const json = await verify(["--json"]);
    expect(json.status).toBe(1);
    const violations = jsonLines<Violation>(json.stdout);
    expect(violations).toMatchObject([
      { tenantId: fixture.tenantId, invariant: "history-live", rows: [expect.stringContaining("name kept")] },
    ]);
  } finally {
    await change(-1);
  }
  expect((await verify([])).status).toBe(0);
});

test("wrong roles and missing databases are told apart from broken data", async () => {
  expect((await verify(["--url", database.superuserUrl])).stderr).toContain("superuser");
  const none = path.join(scratch.path, "none");
  const missing = await verify(["--data", none], {});
  expect(missing).toMatchObject({ status: 2, stdout: "" });
  expect(missing.stderr).toContain(none);
  await expect(fs.access(none)).rejects.toThrow("ENOENT");
});

test.skipIf(process.platform === "win32")("Ctrl-C ends it in the middle of a statement", async () => {
  await withClient(database.superuserUrl, async (client) => {
    await client.query("BEGIN; LOCK TABLE file_current IN ACCESS EXCLUSIVE MODE");
    const waiting =
      "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'frostline-verify' AND wait_event_type = 'Lock'";
    const interrupted = await frostline(["verify"], {
      env: { DATABASE_URL: database.runtimeUrl },
      started: async (child) => {
        // On another connection: within a transaction the answer stays the same.
        while ((await fixture.look(waiting)).length === 0);
        child.kill("SIGINT");
      },
    });
    expect(interrupted).toMatchObject({ status: 1, stdout: "", stderr: expect.stringMatching(/^Stopped /) });
  });
});

test("the embedded database, while its server runs and when it does not", { timeout: 120_000 }, async () => {
  const data = path.join(scratch.path, "data");
  const { PATH = "", HOME = "" } = process.env;
  const server = spawn(program, ["serve", "--data", data], {
    env: { PATH, HOME, FROSTLINE_LISTEN: "127.0.0.1:0", FROSTLINE_LOG_LEVEL: "warn" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  const exited = once(server, "exit");
  try {
    await Promise.race([once(server.stdout, "data"), exited.then(([code]) => Promise.reject(new Error(`serve ended with ${code}`)))]);
    expect(await verify(["--data", data], {})).toMatchObject({ status: 0, stderr: "" });
  } finally {
    server.kill("SIGTERM");
  }
  expect(await exited).toEqual([0, null]);
  // Twice: the first one that starts the database also stops it and gives the data back.
  for (let i = 0; i < 2; i++) expect(await verify(["--data", data], {})).toMatchObject({ status: 0, stderr: "" });
});
