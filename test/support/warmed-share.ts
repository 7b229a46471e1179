/** Shares whose files are all stubbed, and accesses to them. */
import { create } from "@bufbuild/protobuf";
import { type Client, createClient } from "../../src/agent/client.js";
import { AuditAction, type AuditCounts, AuditEventSchema, AuditService } from "../../src/gen/frostline/v1/audit_pb.js";
import { defaultRuleSettings, type RuleSettings } from "../../src/planner/rule-settings.js";
import { type AuditedShare, createAuditedShare } from "./audited-share.js";
import { scanTree } from "./audited-trail.js";
import { startSeconds } from "./generated-trail.js";
import type { FakeTree } from "./ingest.js";
import { withClient } from "./postgres.js";
import type { TestTenant } from "./tenant.js";

export interface WarmedShare extends AuditedShare {
  shareId: bigint;
  /** Of its files, in order. */
  paths: string[];
  /** How far each audit file was sent. */
  sent: Map<string, bigint>;
}

export interface StubbedOptions {
  shareName?: string;
  files: number;
  /** That they lie in. */
  directory?: string;
  /** Of the rule that planned all of them; without it they have none. */
  settings?: Partial<RuleSettings>;
  /** So long they have been stubbed. */
  stubbedForSeconds?: number;
}

/** `files` files of one directory, scanned, and stubbed as if a mover had reported it. */
export async function createWarmedShare(server: AuditedShare["server"], tenant: TestTenant, options: StubbedOptions): Promise<WarmedShare> {
  const { shareName = "warmed", files, directory = "/reel", settings, stubbedForSeconds = 3600 } = options;
  const share = await createAuditedShare(server, tenant, shareName);
  const names = Array.from({ length: files }, (_, no) => `take ${no}.mov`);
  const entries = names.map((name, no) => {
    const file = { sizeBytes: BigInt(1000 + no), mtimeUnix: 1n, atimeUnix: BigInt(startSeconds), ctimeUnix: 1n, frn: BigInt(no + 1) };
    return [name, file] as const;
  });
  const tree: FakeTree = new Map([
    ["/", new Map()],
    [directory, new Map(entries)],
  ]);
  await scanTree(share, tree, startSeconds);
  const shareId = await stubAll(share, files, settings && { ...defaultRuleSettings, ...settings }, stubbedForSeconds);
  return { ...share, shareId, paths: names.map((name) => `${directory}/${name}`), sent: new Map() };
}

/** Of a plan whose one rule took all there was. */
function funnelOf(files: number): object {
  const [all, none] = [{ files }, { files: 0 }];
  return { planned: all, rules: [{ matched: all, excluded: {}, taken: none, capped: none, planned: all }] };
}

async function stubAll(
  { server, tenant, shareName }: AuditedShare,
  files: number,
  settings: RuleSettings | undefined,
  stubbedForSeconds: number,
): Promise<bigint> {
  return withClient(server.database.superuserUrl, async (client) => {
    const of = [tenant.tenantId, shareName];
    if (settings) {
      await client.query(
        `INSERT INTO tier_rule (tenant_id, version, rule_name, priority, expression, target_uri, settings, created_by)
         VALUES ($1, 1, 'rule of ' || $2, 1, 'true', 'file:///cold', $3, 'test')`,
        [...of, settings],
      );
      await client.query(
        `INSERT INTO tier_plan (tenant_id, share_id, plan_no, request_id, scan_id, now_unix, planned_by, brake_confirmed, planned_files, planned_bytes,
           planned_allocated_bytes, funnel)
         SELECT tenant_id, share_id, 1, gen_random_uuid(), last_complete_scan_id, 0, 'test', false, $3, 0, 0, $4 FROM share h
         WHERE tenant_id = $1 AND share_name = $2`,
        [...of, files, funnelOf(files)],
      );
    }
    const { rows } = await client.query<{ share_id: string }>(
      `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, object_uri, state, rule_id, rule_version, plan_id, planned_by, planned_size_bytes,
         planned_mtime_unix, planned_frn, stub_size_bytes, stub_mtime_unix, stub_frn, acted_utc)
       SELECT c.tenant_id, c.share_id, c.file_current_id, 'file:///cold', 'file:///cold/' || c.frn, 'STUBBED', r.rule_id, r.version, p.plan_id, 'test', c.size_bytes,
         c.mtime_unix, c.frn, 0, c.mtime_unix, c.frn, now() - make_interval(secs => $3)
       FROM file_current c JOIN share h USING (tenant_id, share_id)
       LEFT JOIN tier_rule r ON r.tenant_id = c.tenant_id AND r.rule_name = 'rule of ' || h.share_name
       LEFT JOIN tier_plan p ON p.tenant_id = c.tenant_id AND p.share_id = c.share_id
       WHERE c.tenant_id = $1 AND h.share_name = $2 RETURNING share_id`,
      [...of, stubbedForSeconds],
    );
    return BigInt(rows[0]?.share_id as string);
  });
}

export interface TestAccess {
  path: string;
  user?: string;
  host?: string;
  /** Default: now. */
  timeMs?: number;
  action?: AuditAction;
}

/** The next lines of an audit file, committed when it resolves. */
export async function pushAccesses(share: WarmedShare, accesses: TestAccess[], auditFilePath = "node/a.log"): Promise<AuditCounts> {
  const client = createClient({ server: share.server.address, key: share.tenant.keys.agent });
  return sendAccesses(client, share, accesses, auditFilePath).finally(client.close);
}

/** The same over a connection that is there. */
export async function sendAccesses(
  client: Client,
  share: WarmedShare,
  accesses: TestAccess[],
  auditFilePath: string,
): Promise<AuditCounts> {
  const startOffset = share.sent.get(auditFilePath) ?? 0n;
  const events = accesses.map(({ path, user = "ann", host = "desk", timeMs = Date.now(), action = AuditAction.READ }, at) =>
    create(AuditEventSchema, {
      offset: startOffset + BigInt(at),
      timeMicros: BigInt(Math.round(timeMs * 1000)),
      action,
      path,
      user,
      host,
      node: "node",
      actionName: "FileRead",
    }),
  );
  const endOffset = startOffset + BigInt(events.length);
  const stream = client.clientStream(AuditService.method.pushAudit);
  await stream.send({ message: { case: "open", value: { shareName: share.shareName, volumeId: `volume of ${share.shareName}` } } });
  await stream.send({
    message: { case: "batch", value: { auditFilePath, headFingerprint: Buffer.from(auditFilePath), startOffset, endOffset, events } },
  });
  const { counts } = await stream.finish();
  share.sent.set(auditFilePath, endOffset);
  return counts as AuditCounts;
}

/** Rows as the superuser sees them; `$1` is the share's tenant. */
export async function look<Row extends Record<string, unknown>>(
  { server, tenant }: AuditedShare,
  sql: string,
  ...rest: unknown[]
): Promise<Row[]> {
  return withClient(server.database.superuserUrl, async (client) => (await client.query<Row>(sql, [tenant.tenantId, ...rest])).rows);
}
