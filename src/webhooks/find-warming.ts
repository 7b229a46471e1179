/**
 * Makes deliveries of what is warming. Each webhook has a position of its own, as a watch has: events become visible in the order of
 * their positions, so what lies between it and the newest is what the webhook has not been told of, and moving it in the transaction
 * that writes the deliveries makes each event one of a delivery once. Audit batches pay nothing for it.
 */
import type { ClientBase } from "pg";
import { plainArray } from "../db/array-literals.js";
import { accessesOfMessageAtMost, pageEvents, pendingAtMost } from "./limits.js";

interface Follower {
  webhookId: string;
  position: bigint;
  shareId: bigint | null;
  wantsAlerts: boolean;
  wantsStorms: boolean;
}

interface Found {
  eventType: "warming.alert" | "warming.storm";
  shareId: bigint;
  from: bigint;
  to: bigint;
}

interface Place {
  position: bigint;
  share_id: bigint;
}

/** A page for each webhook that is not told of everything yet. Returns whether there may be more. Within a transaction of the tenant. */
export async function findWarming(client: ClientBase, tenantId: string): Promise<boolean> {
  // Before the webhooks: what has a position up to this one is visible to every statement from now on.
  const { rows } = await client.query<{ position: bigint }>("SELECT last_position AS position FROM warming_position WHERE tenant_id = $1", [
    tenantId,
  ]);
  const newest = rows[0]?.position ?? 0n;
  let more = false;
  for (const follower of await lockFollowers(client, tenantId, newest)) {
    const { found, upTo } = await readPage(client, tenantId, follower, newest);
    await insertDeliveries(client, tenantId, follower.webhookId, found);
    await client.query("UPDATE webhook SET warming_position = $3 WHERE tenant_id = $1 AND webhook_id = $2", [
      tenantId,
      follower.webhookId,
      upTo,
    ]);
    more ||= upTo < newest;
  }
  return more;
}

/** Those that another server is at are left to it. */
async function lockFollowers(client: ClientBase, tenantId: string, newest: bigint): Promise<Follower[]> {
  const { rows } = await client.query<Follower>(
    `SELECT w.webhook_id AS "webhookId", w.warming_position AS position, w.share_id AS "shareId",
       'warming.alert' = ANY (w.event_types) AS "wantsAlerts", 'warming.storm' = ANY (w.event_types) AS "wantsStorms"
     FROM webhook w WHERE w.tenant_id = $1 AND w.disabled_utc IS NULL AND w.warming_position < $2 AND w.event_types && '{warming.alert,warming.storm}'
       AND (SELECT count(*) FROM webhook_delivery d WHERE d.tenant_id = $1 AND d.webhook_id = w.webhook_id AND d.state = 'PENDING') < $3
     FOR UPDATE OF w SKIP LOCKED`,
    [tenantId, newest, pendingAtMost],
  );
  return rows;
}

async function readPage(
  client: ClientBase,
  tenantId: string,
  { position, shareId, wantsAlerts, wantsStorms }: Follower,
  newest: bigint,
): Promise<{ found: Found[]; upTo: bigint }> {
  const { rows: events } = await client.query<Place>(
    // Those of a storm are not told one by one: its alarm stands for them.
    `SELECT position, share_id FROM warming_event WHERE tenant_id = $1 AND position > $2 AND position <= $3 AND ($4::bigint IS NULL OR share_id = $4) AND NOT in_storm
     ORDER BY position LIMIT $5`,
    [tenantId, position, newest, shareId, pageEvents],
  );
  const eventsUpTo = lastOf(events) ?? newest;
  const { rows: storms } = await client.query<Place>(
    `SELECT position, share_id FROM warming_storm WHERE tenant_id = $1 AND position > $2 AND position <= $3 AND ($4::bigint IS NULL OR share_id = $4)
     ORDER BY position LIMIT $5`,
    [tenantId, position, eventsUpTo, shareId, pageEvents],
  );
  const upTo = lastOf(storms) ?? eventsUpTo;
  const found = wantsAlerts ? alertsOf(events.filter(({ position: at }) => at <= upTo)) : [];
  if (wantsStorms) {
    for (const { position: at, share_id } of storms) found.push({ eventType: "warming.storm", shareId: share_id, from: at, to: at });
  }
  return { found, upTo };
}

/** Undefined when the page is not full: then it has all there is. */
function lastOf(page: Place[]): bigint | undefined {
  return page.length < pageEvents ? undefined : page.at(-1)?.position;
}

/** A message is of one share; its accesses are all those of the share between its first and its last position. */
function alertsOf(events: Place[]): Found[] {
  const found: Found[] = [];
  const open = new Map<bigint, { alert: Found; accesses: number }>();
  for (const { position, share_id: shareId } of events) {
    const last = open.get(shareId);
    if (last !== undefined && last.accesses < accessesOfMessageAtMost) {
      last.alert.to = position;
      last.accesses += 1;
      continue;
    }
    const alert: Found = { eventType: "warming.alert", shareId, from: position, to: position };
    found.push(alert);
    open.set(shareId, { alert, accesses: 1 });
  }
  return found;
}

async function insertDeliveries(client: ClientBase, tenantId: string, webhookId: string, found: Found[]): Promise<void> {
  if (found.length === 0) return;
  await client.query(
    `INSERT INTO webhook_delivery (tenant_id, webhook_id, event_type, share_id, from_position, to_position, next_attempt_utc)
     SELECT $1, $2, f.event_type, f.share_id, f.from_position, f.to_position, now()
     FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::bigint[]) AS f (event_type, share_id, from_position, to_position)`,
    [
      tenantId,
      webhookId,
      found.map(({ eventType }) => eventType),
      plainArray(found.map(({ shareId }) => shareId)),
      plainArray(found.map(({ from }) => from)),
      plainArray(found.map(({ to }) => to)),
    ],
  );
}
