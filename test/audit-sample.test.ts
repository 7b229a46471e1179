/** The sample trail by the command line: exactly the state that test/samples/README.md lists. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { violationsOf } from "./support/audited-share.js";
import { frostline, jsonLines } from "./support/command.js";
import { withClient } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import type { Scope } from "./support/tenant.js";

const samples = fileURLToPath(new URL("./samples", import.meta.url));
const shareName = "northwind";
const node = "6f1d2c3e-0000-4000-8000-000000000a01/2026/09";
const rotatedLog = `${node}/2026-09-23T18.15.00Z.log`;
const openLog = `${node}/2026-09-23T18.30.00Z.log`;

let server: TestServer;
let scratch: Scratch;
beforeAll(async () => {
  server = await startTestServer();
  scratch = await scratchDirectory();
  await fs.cp(path.join(samples, "lucid-audit"), scratch.path, { recursive: true });
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

interface Listed {
  fileId: string;
  path: string;
  sizeBytes?: string;
  atimeUnix: string;
  lastAccessedSource: string;
  missingSinceScanId?: string;
}

async function run<T>(scope: Scope, status: number, ...args: string[]): Promise<T[]> {
  const result = await frostline([...args, "--json"], { env: { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: server.keys[scope] } });
  expect(result.status, result.stderr).toBe(status);
  return jsonLines<T>(result.stdout);
}

const importCsv = async (csv: string) =>
  (await run<{ scanId: string }>("agent", 0, "import", csv, "--share", shareName, "--type", "LucidLink", "--full"))[0]?.scanId as string;
const listAll = async () => (await run<Listed>("reader", 0, "ls", "--share", shareName, "--include-missing")).sort(byPath);
const snapshotPaths = async (scanId: string) => (await run<Listed>("reader", 0, "snapshot", scanId)).map((file) => file.path).sort();
const runTrail = async (status: number) =>
  (await run<{ counts: Record<string, string>; lagBytes: string }>("agent", status, "audit", scratch.path, "--share", shareName))[0];
const positions = async () =>
  Object.fromEntries(
    (await run<{ auditFilePath: string; position: string }>("reader", 0, "cursors", "--share", shareName)).map((cursor) => [
      cursor.auditFilePath,
      Number(cursor.position),
    ]),
  );

function byPath(a: Listed, b: Listed): number {
  return Buffer.compare(Buffer.from(a.path), Buffer.from(b.path));
}

/** As the README's table has it: path, size, last access, by, missing. */
function asRows(files: Listed[]): (string | boolean | undefined)[][] {
  return files.map((file) => [file.path, file.sizeBytes, file.atimeUnix, file.lastAccessedSource, file.missingSinceScanId !== undefined]);
}

const locked = "/Shows/Harbor Lights (locked)";
const endState = [
  [`${locked}/A001_C001.mxf`, "734003200", "1790187300", "lucidlink_audit", false],
  [`${locked}/A001_C002.mxf`, "845152256", "1790188241", "lucidlink_audit", false],
  [`${locked}/A001_C003.mxf`, "512000000", "1780000003", "initial_scan", false],
  [`${locked}/harbor.prproj`, undefined, "1790188248", "lucidlink_audit", false],
  [`${locked}/Élan — 東京.mov`, "99999999", "1790187305", "lucidlink_audit", false],
  ["/Shows/Harbor Lights/harbor.prproj.bak", "1048576", "1780000004", "initial_scan", true],
];

/** Rows of the audit log in the order of the events: file, old and new access time, who, event time. */
async function auditLog() {
  const { rows } = await withClient(server.database.superuserUrl, (client) =>
    client.query<{ path: string; old: string; new: string; actor: string; micros: string }>(
      `SELECT c.name AS path, l.old_atime_unix AS old, l.new_atime_unix AS new, l.actor, (extract(epoch FROM l.event_utc) * 1000000)::bigint AS micros
       FROM audit_log l JOIN file_current c USING (tenant_id, file_current_id) WHERE l.tenant_id = $1 AND l.kind = 'access' ORDER BY l.event_utc`,
      [server.tenantId],
    ),
  );
  return rows.map((row) => [row.path, row.old, row.new, row.actor, row.micros]);
}

const ben = "ben@example.com";
const appliedLog = [
  ["A001_C001.mxf", "1780000001", "1790187300", ben, "1790187300000001"],
  ["Élan — 東京.mov", "1780000005", "1790187305", ben, "1790187305000000"],
  ["A001_C002.mxf", "1780000002", "1790188241", ben, "1790188241118204"],
  ["harbor.prproj", "1790188247", "1790188248", ben, "1790188248250991"],
];

test("the sample trail gives the state of its README; the rest of the partial line, after a rotation, one event more", {
  timeout: 120_000,
}, async () => {
  const before = await importCsv(path.join(samples, "lucid-inventory.csv"));
  const idBefore = new Map((await listAll()).map((file) => [path.posix.basename(file.path), file.fileId]));
  await run("operator", 0, "exclusions", "add", "user", "backup-svc", "--share", shareName);

  const first = await runTrail(3);
  const none = { duplicate: "0", stale: "0", waiting: "0", ignored: "0" };
  const counts = { ...none, applied: "4", inserted: "2", moved: "2", deleted: "1", excluded: "2", refused: "1" };
  expect(first?.counts).toEqual(counts);
  const afterTrail = await listAll();
  expect(asRows(afterTrail)).toEqual(endState);
  for (const file of afterTrail) {
    const known = idBefore.get(path.posix.basename(file.path));
    if (known !== undefined) expect(file.fileId, file.path).toBe(known);
  }
  expect(await auditLog()).toEqual(appliedLog);
  const openFile = path.join(scratch.path, `${openLog}.active`);
  const text = await fs.readFile(openFile);
  const wholeLines = text.lastIndexOf("\n") + 1;
  expect(await positions()).toEqual({ [rotatedLog]: (await fs.stat(path.join(scratch.path, rotatedLog))).size, [openLog]: wholeLines });

  // Nothing new: nothing happens.
  const nothing = Object.fromEntries(Object.keys(counts).map((name) => [name, "0"]));
  expect((await runTrail(0))?.counts).toEqual(nothing);
  expect(asRows(await listAll())).toEqual(endState);

  // The partial line becomes whole, and the log is rotated.
  await fs.appendFile(
    openFile,
    `{"hostName":"ben-studio"},"event":{"nodeId":"n"},"operation":{"action":"FileRead","entryPath":"${locked}/A001_C003.mxf","fileId":"1003"}}\n`,
  );
  await fs.rename(openFile, path.join(scratch.path, openLog));
  const second = await runTrail(0);
  expect(second?.counts).toEqual({ ...nothing, applied: "1" });
  const endStateRead = endState.map((row) =>
    row[0] === `${locked}/A001_C003.mxf` ? [row[0], row[1], "1790188250", "lucidlink_audit", false] : row,
  );
  expect(asRows(await listAll())).toEqual(endStateRead);
  expect(await auditLog()).toEqual([...appliedLog, ["A001_C003.mxf", "1780000003", "1790188250", ben, "1790188250100000"]]);
  expect((await positions())[openLog]).toBe((await fs.stat(path.join(scratch.path, openLog))).size);
  const live = endStateRead.filter((row) => row[4] === false).map((row) => row[0] as string);

  // The old snapshot has the old paths; a scan of the tree as it now is has the new ones.
  const oldPaths = (await fs.readFile(path.join(samples, "lucid-inventory.csv"), "utf8"))
    .split("\n")
    .slice(1, -1)
    .map((row) => row.split(",")[0]);
  expect(await snapshotPaths(before)).toEqual(oldPaths.sort());
  const csv = path.join(scratch.path, "now.csv");
  await fs.writeFile(csv, `path,size_bytes,atime_unix,mtime_unix,ctime_unix\n${live.map((file) => `${file},7,1790188200,1,1\n`).join("")}`);
  const after = await importCsv(csv);
  expect(await snapshotPaths(after)).toEqual(live.sort());
  expect(await snapshotPaths(before)).toEqual(oldPaths.sort());
  const idAfter = new Map(afterTrail.map((file) => [file.path, file.fileId]));
  for (const file of await listAll()) expect(file.fileId, file.path).toBe(idAfter.get(file.path));
  expect(await violationsOf(server.database)).toEqual([]);
});
