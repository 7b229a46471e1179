/** A tenant that has, under one word, something of everything that a call can name. */
import { randomUUID } from "node:crypto";
import { type Client, createClient } from "../../src/agent/client.js";
import { AuditExclusionKind, AuditService } from "../../src/gen/frostline/v1/audit_pb.js";
import { PlannerService } from "../../src/gen/frostline/v1/planner_pb.js";
import { RetentionService } from "../../src/gen/frostline/v1/retention_pb.js";
import { RuleService } from "../../src/gen/frostline/v1/rule_pb.js";
import { ScanMode, ScanService } from "../../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../../src/gen/frostline/v1/share_pb.js";
import { KeyScope, TenantService } from "../../src/gen/frostline/v1/tenant_pb.js";
import { WebhookService } from "../../src/gen/frostline/v1/webhook_pb.js";
import { withClient } from "./postgres.js";
import type { TestServer } from "./server.js";
import { chunk, file, listing } from "./streams.js";
import type { TestTenant } from "./tenant.js";
import { createWarmedShare, pushAccesses } from "./warmed-share.js";

/** Names and ids of what it has, as a request in JSON says them. */
export interface Furnishings extends TestTenant {
  /** Of its share, rule, key, hold, users and directories. */
  word: string;
  volumeId: string;
  path: string;
  auditFilePath: string;
  /** Ended; the next one is RUNNING; that of another share is, too. */
  doneScanId: string;
  runningScanId: string;
  spareScanId: string;
  keyId: string;
  etag: string;
  requestId: string;
  holdId: string;
  position: string;
  stubbedId: string;
  plannedId: string;
  rehydratedId: string;
  leasedId: string;
  leaseToken: string;
  webhookId: string;
  deliveryId: string;
}

/** Two of whatever is listed, so that there is a second page; `server` has a master key; `accesses` to a tiered file in two audit files. */
export async function furnishTenant(
  server: Pick<TestServer, "address" | "database">,
  tenant: TestTenant,
  word: string,
  accesses: number,
): Promise<Furnishings> {
  const admin = createClient({ server: server.address, key: tenant.keys.admin });
  try {
    const warmed = await createWarmedShare(server, tenant, { shareName: word, files: 8, directory: `/${word}`, settings: {} });
    const access = { path: warmed.paths[0] as string, user: word, host: word };
    await pushAccesses(warmed, new Array(accesses - 1).fill(access), `${word}/a.log`);
    await pushAccesses(warmed, [access], `${word}/b.log`);
    await leaveScansOpen(admin, word);
    const requestId = await furnishRules(admin, word);
    const key = await admin.unary(TenantService.method.createKey, { name: word, scopes: [KeyScope.READER] });
    const { etag } = await admin.unary(RuleService.method.listRules, {});
    for (const url of ["https://hooks.example.com/1", "https://hooks.example.com/2"])
      await admin.unary(WebhookService.method.createWebhook, { url, eventTypes: ["scan.stale"], shareName: word });
    const rows = await arrange(server, tenant.tenantId, word);
    return {
      ...tenant,
      word,
      volumeId: `volume of ${word}`,
      path: warmed.paths[0] as string,
      auditFilePath: `${word}/a.log`,
      keyId: key.key?.keyId as string,
      etag,
      requestId,
      ...rows,
    };
  } finally {
    admin.close();
  }
}

/** The share's second scan, with two refused records, and one of a share of its own. */
async function leaveScansOpen(admin: Client, word: string): Promise<void> {
  for (const shareName of [`${word} two`, `${word} three`])
    await admin.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK });
  for (const shareName of [word, `${word} three`]) {
    const { scan } = await admin.unary(ScanService.method.startScan, { shareName, mode: ScanMode.PARTIAL });
    const stream = admin.clientStream(ScanService.method.pushScan);
    await stream.send({ message: { case: "open", value: { scanId: scan?.scanId as bigint, writer: word } } });
    await stream.send({ message: { case: "chunk", value: chunk(0, [listing(`/${word} new`, [file(""), file("..")])]) } });
    await stream.finish();
  }
}

async function furnishRules(admin: Client, word: string): Promise<string> {
  const rules = [word, `${word} two`].map((name, n) => ({ name, priority: 100 + n, expression: "size > 5 * TB", targetUri: "s3://cold" }));
  await admin.unary(RuleService.method.applyRules, { ruleSet: { rules } });
  const requestId = randomUUID();
  await admin.unary(PlannerService.method.plan, { shareName: word, requestId });
  for (const end of ["one", "two"])
    await admin.unary(RuleService.method.addHold, { shareName: word, pathGlob: `/${word}/${end}/**`, reason: `of ${word}` });
  for (const value of [word, `${word} two`])
    await admin.unary(AuditService.method.addAuditExclusion, { exclusion: { shareName: word, kind: AuditExclusionKind.USER, value } });
  await admin.unary(RetentionService.method.setRetentionPolicy, { policy: { shareName: word, keepScans: 9 } });
  await admin.unary(RetentionService.method.setRetentionBounds, { bounds: { warmingDays: 99 } });
  await admin.unary(RetentionService.method.erasePerson, { name: `${word} gone` });
  return requestId;
}

/** Storms, and objects in all states: what takes movers, and time. */
async function arrange(server: Pick<TestServer, "database">, tenantId: string, word: string) {
  return withClient(server.database.superuserUrl, async (superuser) => {
    await superuser.query(`SELECT set_config('test.tenant', '${tenantId}', false), set_config('test.word', '${word}', false)`);
    await superuser.query(arrangements);
    const { rows } = await superuser.query<Record<(typeof found)[number], string>>(lookUp, [tenantId, word]);
    return rows[0] as Record<(typeof found)[number], string>;
  });
}

const arrangements = `
  WITH moved AS (
    UPDATE warming_position SET last_position = last_position + 2 WHERE tenant_id = current_setting('test.tenant')::uuid RETURNING *
  )
  INSERT INTO warming_storm SELECT m.tenant_id, m.last_position - n, h.share_id, now(), now(), now(), 9, 5, 9, now()
  FROM moved m JOIN share h ON h.tenant_id = m.tenant_id AND h.share_name = current_setting('test.word'), generate_series(0, 1) n;
  WITH numbered AS (
    SELECT tier_id, row_number() OVER (ORDER BY tier_id) AS n FROM tier_object WHERE tenant_id = current_setting('test.tenant')::uuid
  )
  UPDATE tier_object t SET stub_size_bytes = CASE WHEN c.state = 'STUBBED' THEN 0 END, resident_until_utc = CASE WHEN c.state = 'REHYDRATED' THEN now() + interval '1 year' END,
    stub_mtime_unix = NULL, stub_frn = NULL, state = c.state, wanted_action = c.wanted, lease_token = c.token, lease_holder = CASE WHEN c.token IS NOT NULL THEN current_setting('test.word') END,
    lease_until_utc = CASE WHEN c.token IS NOT NULL THEN now() + interval '1 hour' END
  FROM numbered JOIN (VALUES (3, 'PLANNED', 'STUB', NULL), (4, 'PLANNED', 'STUB', gen_random_uuid()), (5, 'STUBBED', 'REHYDRATE', NULL), (6, 'REHYDRATED', NULL, NULL),
    (7, 'PLANNED', 'STUB', NULL)) c (n, state, wanted, token) USING (n)
  WHERE t.tenant_id = current_setting('test.tenant')::uuid AND t.tier_id = numbered.tier_id;
  INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, share_id, facts, state, attempts, finished_utc)
  SELECT tenant_id, webhook_id, 'scan.stale', share_id, '{}', 'DEAD', 9, now() FROM webhook, generate_series(1, 2) WHERE tenant_id = current_setting('test.tenant')::uuid;
  UPDATE tier_plan p SET funnel = real.funnel, planned_files = real.planned_files FROM tier_plan real
  WHERE p.tenant_id = current_setting('test.tenant')::uuid AND real.tenant_id = p.tenant_id AND real.plan_no = 2`;

const found = [
  "doneScanId",
  "runningScanId",
  "spareScanId",
  "holdId",
  "position",
  "stubbedId",
  "plannedId",
  "rehydratedId",
  "leasedId",
  "leaseToken",
  "webhookId",
  "deliveryId",
] as const;

const lookUp = `
  SELECT (SELECT min(scan_id) FROM scan JOIN share USING (tenant_id, share_id) WHERE tenant_id = $1 AND share_name = $2) AS "doneScanId",
    (SELECT max(scan_id) FROM scan JOIN share USING (tenant_id, share_id) WHERE tenant_id = $1 AND share_name = $2) AS "runningScanId",
    (SELECT max(scan_id) FROM scan JOIN share USING (tenant_id, share_id) WHERE tenant_id = $1 AND share_name = $2 || ' three') AS "spareScanId",
    (SELECT min(webhook_id::text) FROM webhook WHERE tenant_id = $1) AS "webhookId",
    (SELECT min(delivery_id::text) FROM webhook_delivery d WHERE tenant_id = $1 AND webhook_id::text = (SELECT min(webhook_id::text) FROM webhook WHERE tenant_id = $1)) AS "deliveryId",
    (SELECT min(hold_id) FROM hold WHERE tenant_id = $1) AS "holdId",
    (SELECT last_position FROM warming_position WHERE tenant_id = $1) AS "position",
    (SELECT min(tier_id) FROM tier_object WHERE tenant_id = $1) AS "stubbedId",
    (SELECT max(tier_id) FROM tier_object WHERE tenant_id = $1 AND state = 'PLANNED' AND lease_token IS NULL) AS "plannedId",
    (SELECT max(tier_id) FROM tier_object WHERE tenant_id = $1 AND state = 'REHYDRATED') AS "rehydratedId",
    (SELECT max(tier_id) FROM tier_object WHERE tenant_id = $1 AND lease_token IS NOT NULL) AS "leasedId",
    (SELECT lease_token::text FROM tier_object WHERE tenant_id = $1 AND lease_token IS NOT NULL) AS "leaseToken"`;
