/**
 * Clients in other languages and protocols, against one server: each takes a share of its own through the same scenario,
 * and the same rows must come of it. FROSTLINE_TEST_CLIENTS=required fails where one lacks what it needs, instead of skipping it.
 */
import { randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bufCurlReflection, bufCurlSchema } from "./clients/buf-curl.js";
import { go } from "./clients/go.js";
import { grpcJs } from "./clients/grpc-js.js";
import { connectHttp1, grpcWebHttp1 } from "./clients/http1.js";
import { python, pythonByBuf } from "./clients/python.js";
import { directories, expression, type ForeignClient, makeTrail, makeTree, plannedPaths, readAgain, tree } from "./clients/scenario.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type LocalServer, startTestServer } from "./support/server.js";

const clients: ForeignClient[] = [python, pythonByBuf, go, grpcJs, bufCurlReflection, bufCurlSchema, connectHttp1, grpcWebHttp1];

let server: LocalServer;
let scratch: Scratch;
let superuser: pg.Client;

beforeAll(async () => {
  scratch = await scratchDirectory();
  server = await startTestServer({ env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0" } });
  superuser = new pg.Client({ connectionString: server.database.superuserUrl });
  await superuser.connect();
  // The view is its owner's, whom policies bind.
  await superuser.query(`SET app.tenant_id = '${server.tenantId}'`);
});
afterAll(async () => {
  await superuser?.end();
  await server?.close();
  await scratch?.remove();
});

describe.each(clients)("$name", (client) => {
  const missing = client.missing();
  const required = process.env.FROSTLINE_TEST_CLIENTS === "required";
  if (missing !== undefined && !required) console.warn(`\n!!! SKIPPED the ${client.name} client: it needs ${missing}.\n`);

  test.skipIf(missing !== undefined && !required)(
    "scans, pushes an audit trail, reads its cursor, plans",
    async () => {
      if (missing !== undefined) throw new Error(`The ${client.name} client needs ${missing}.`);
      const shareName = `share of ${client.name}`;
      const [root, trail, own] = await Promise.all(["root", "trail", "own"].map((name) => directory(client.name, name)));
      const volumeId = randomUUID();
      await makeTree(root as string);
      const { logPath, end } = await makeTrail(trail as string, volumeId);
      const rule = { name: `rule of ${client.name}`, expression, targetUri: "s3://cold/files" };
      const paths = { root: root as string, trail: trail as string, scratch: own as string };

      const told = await client.run({ server, shareName, logPath, volumeId, rule, ...paths });

      expect(told).toEqual({ cursorPosition: end, previewPlanned: plannedPaths.length, planned: plannedPaths.length });
      const [share] = await look<{ share_id: string; volume_id: string }>("SELECT share_id, volume_id FROM share WHERE share_name = $1", [
        shareName,
      ]);
      expect(share?.volume_id).toBe(volumeId);
      await expectRows(share?.share_id as string, { logPath, end, volumeId, ruleName: rule.name });
    },
    180_000,
  );
});

async function expectRows(shareId: string, wanted: { logPath: string; end: number; volumeId: string; ruleName: string }): Promise<void> {
  const scans = await look("SELECT status, mode, refused::int FROM scan WHERE share_id = $1", [shareId]);
  expect(scans).toEqual([{ status: "OK", mode: "FULL", refused: 0 }]);
  const listed = await look<{ dir_path: string }>('SELECT dir_path FROM dir WHERE share_id = $1 ORDER BY dir_path COLLATE "C"', [shareId]);
  expect(listed.map(({ dir_path }) => dir_path)).toEqual([...directories].sort());
  const files = await look(
    `SELECT file_path AS path, file_size::int AS "sizeBytes", last_accessed::int AS "atimeUnix", last_modified::int AS "mtimeUnix"
     FROM file_inventory WHERE host_id = $1`,
    [shareId],
  );
  const byPath = (a: { path?: string }, b: { path?: string }) => ((a.path as string) < (b.path as string) ? -1 : 1);
  const expected = tree.map((file) => (file.path === readAgain.path ? { ...file, atimeUnix: readAgain.atUnix } : file));
  expect(files.sort(byPath)).toEqual(expected.sort(byPath));
  expect(await look("SELECT audit_file_path, last_position FROM lucid_audit_cursor WHERE volume_id = $1", [wanted.volumeId])).toEqual([
    { audit_file_path: wanted.logPath, last_position: String(wanted.end) },
  ]);
  const planned = await look<{ path: string }>(
    `SELECT i.file_path AS path FROM tier_object t JOIN file_inventory i ON i.customer_id = t.tenant_id AND i.id = t.file_current_id
     JOIN tier_rule r ON r.tenant_id = t.tenant_id AND r.rule_id = t.rule_id
     WHERE t.share_id = $1 AND t.state = 'PLANNED' AND t.wanted_action = 'STUB' AND r.rule_name = $2`,
    [shareId, wanted.ruleName],
  );
  expect(planned.map(({ path }) => path).sort()).toEqual([...plannedPaths].sort());
}

async function look<Row extends Record<string, unknown>>(sql: string, values: unknown[]): Promise<Row[]> {
  return (await superuser.query<Row>(sql, values)).rows;
}

async function directory(client: string, name: string): Promise<string> {
  const made = path.join(scratch.path, client, name);
  await fs.mkdir(made, { recursive: true });
  return made;
}
