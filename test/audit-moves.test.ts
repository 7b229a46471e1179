/**
 * A file and a directory are renamed, as audit events tell. FROSTLINE_TEST_MOVED_FILES: how many files the directory has,
 * default 5,000.
 */
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { AuditAction, AuditEventSchema, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { type AuditedShare, createAuditedShare, liveFiles, snapshotPaths, violationsOf } from "./support/audited-share.js";
import { scanTree } from "./support/audited-trail.js";
import { pathsOfTree, startSeconds } from "./support/generated-trail.js";
import type { FakeTree } from "./support/ingest.js";
import { withClient } from "./support/postgres.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { difference } from "./support/witness.js";

const files = Number(process.env.FROSTLINE_TEST_MOVED_FILES ?? 5000);

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(async () => {
  await server?.close();
});

/** Files in a hundred directories below `root`, and one apart; each has its number. */
function treeOf(root: string, single: string): FakeTree {
  const tree: FakeTree = new Map();
  const add = (dir: string, name: string, no: number) => {
    const file = { sizeBytes: BigInt(no), mtimeUnix: 1n, atimeUnix: BigInt(startSeconds), ctimeUnix: 1n, frn: BigInt(no) };
    for (let at = dir; ; at = at.slice(0, at.lastIndexOf("/")) || "/") {
      if (!tree.has(at)) tree.set(at, new Map());
      if (at === "/") break;
    }
    tree.get(dir)?.set(name, file);
  };
  for (let no = 1; no <= files; no++) add(`${root}/reel ${no % 10}/day ${no % 100}`, `take ${no}.mov`, no);
  add("/Other", single, files + 1);
  return tree;
}

async function push(share: AuditedShare, deeds: [AuditAction, string, string][]) {
  const client = createClient({ server: server.address, key: server.keys.agent });
  const events = deeds.map(([action, path, targetPath], at) =>
    create(AuditEventSchema, {
      offset: BigInt(at),
      timeMicros: BigInt(startSeconds + 100 + at) * 1_000_000n,
      action,
      path,
      targetPath,
      user: "ann",
    }),
  );
  const stream = client.clientStream(AuditService.method.pushAudit);
  await stream.send({ message: { case: "open", value: { shareName: share.shareName, volumeId: "volume" } } });
  const batch = { auditFilePath: "a.log", headFingerprint: Buffer.from("head"), startOffset: 0n, endOffset: BigInt(events.length), events };
  await stream.send({ message: { case: "batch", value: batch } });
  const { counts } = await stream.finish();
  client.close();
  return counts;
}

const look = <Row extends Record<string, unknown>>(sql: string) =>
  withClient(server.database.superuserUrl, async (client) => (await client.query<Row>(sql, [server.tenantId])).rows);

/** Number -> id. */
const identities = async (share: AuditedShare) => new Map([...(await liveFiles(share)).values()].map(({ frn, id }) => [frn, id]));
const tierState = () =>
  look("SELECT file_current_id, state, wanted_action, target_uri FROM tier_object WHERE tenant_id = $1 ORDER BY file_current_id");

test(`a renamed file and a renamed directory of ${files} files keep identity, tier state and history`, {
  timeout: 60_000 + files * 5,
}, async () => {
  const share = await createAuditedShare(server, server);
  const oldTree = treeOf("/Show", "a.mov");
  const before = await scanTree(share, oldTree, startSeconds);
  const ids = await identities(share);
  await look(
    `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, planned_by, planned_size_bytes, planned_mtime_unix,
       object_uri, stub_size_bytes, stub_mtime_unix)
     SELECT tenant_id, share_id, file_current_id, 's3://cold/' || file_current_id, CASE WHEN frn % 2 = 0 THEN 'STUBBED' ELSE 'PLANNED' END,
       CASE WHEN frn % 2 <> 0 THEN 'STUB' END, 'test', size_bytes, mtime_unix, 's3://cold/' || frn, 1, mtime_unix
     FROM file_current WHERE tenant_id = $1 AND (frn % 10 < 2 OR name = 'a.mov')`,
  );
  const tiers = await tierState();
  expect(tiers.length).toBeGreaterThan(files / 6);

  const counts = await push(share, [
    [AuditAction.MOVE, "/Show", "/Archive/Show (locked)"],
    [AuditAction.MOVE, "/Other/a.mov", "/Archive/b.mov"],
    [AuditAction.READ, "/Archive/Show (locked)/reel 0/day 10/take 10.mov", ""],
    [AuditAction.READ, "/Archive/b.mov", ""],
  ]);
  expect(counts).toMatchObject({ moved: 2n, applied: 2n });

  const newTree = treeOf("/Archive/Show (locked)", "b.mov");
  newTree.get("/Archive")?.set("b.mov", newTree.get("/Other")?.get("b.mov") as never);
  newTree.get("/Other")?.delete("b.mov");
  const same = (paths: string[]) => ({ found: paths.length, unexpected: [], lacking: [] });
  const expectKept = async () => {
    expect(difference([...(await liveFiles(share)).keys()], pathsOfTree(newTree))).toEqual(same(pathsOfTree(newTree)));
    expect(await identities(share)).toEqual(ids);
    expect(await tierState()).toEqual(tiers);
    expect(difference(await snapshotPaths(share, before.scanId), pathsOfTree(oldTree))).toEqual(same(pathsOfTree(oldTree)));
    expect(await violationsOf(server.database)).toEqual([]);
  };
  await expectKept();
  // The read of a STUBBED file warms it: take 10 is one, the single file only if its number is even.
  const warm = await look(
    "SELECT c.name FROM warming_event w JOIN tier_object t USING (tenant_id, tier_id) JOIN file_current c USING (tenant_id, file_current_id) WHERE w.tenant_id = $1 ORDER BY c.name",
  );
  expect(warm).toEqual(files % 2 === 0 ? [{ name: "take 10.mov" }] : [{ name: "b.mov" }, { name: "take 10.mov" }]);

  const after = await scanTree(share, newTree, Date.now() / 1000);
  expect(difference(await snapshotPaths(share, after.scanId), pathsOfTree(newTree))).toEqual(same(pathsOfTree(newTree)));
  await expectKept();
  // History by identity: there under the old path, gone from it and there under the new one.
  const versions = await look(
    `SELECT v.change, d.dir_path || '/' || v.name AS path FROM file v JOIN dir d USING (tenant_id, dir_id) JOIN file_current c USING (tenant_id, file_current_id)
     WHERE v.tenant_id = $1 AND c.frn = 10 ORDER BY v.scan_id, v.change DESC`,
  );
  const takeTen = "reel 0/day 10/take 10.mov";
  expect(versions).toEqual([
    { change: "A", path: `/Show/${takeTen}` },
    { change: "R", path: `/Show/${takeTen}` },
    { change: "A", path: `/Archive/Show (locked)/${takeTen}` },
  ]);
});
