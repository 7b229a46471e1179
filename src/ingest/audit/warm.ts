/** Accesses to tiered files, in the transaction that moved the cursor. */
import type { ClientBase } from "pg";
import { plainArray, textArray } from "../../db/array-literals.js";
import type { Access } from "./fold.js";

/** Accesses to tiered files. Positions are allotted under a lock of the tenant, so that they become visible in their order. */
export async function warm(client: ClientBase, tenantId: string, accesses: Access[]): Promise<void> {
  const warming = accesses.filter(({ file }) => file.stubbedTierId !== undefined);
  if (warming.length === 0) return;
  await client.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", [`warming ${tenantId}`]);
  await client.query(
    `WITH event AS (
       SELECT w.tier_id, to_timestamp(w.micros / 1000000.0) AS event_utc, w.actor, w.host, w.ordinal
       FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[]) WITH ORDINALITY AS w (tier_id, micros, actor, host, ordinal)
     ), counted AS (
       UPDATE tier_object t SET access_count = t.access_count + n.accesses, last_accessed_utc = GREATEST(t.last_accessed_utc, n.last_utc)
       FROM (SELECT tier_id, count(*) AS accesses, max(event_utc) AS last_utc FROM event GROUP BY tier_id) n
       WHERE t.tenant_id = $1 AND t.tier_id = n.tier_id
     )
     INSERT INTO warming_event (tenant_id, position, tier_id, share_id, event_utc, actor, host, recorded_utc)
     SELECT $1, (SELECT coalesce(max(position), 0) FROM warming_event WHERE tenant_id = $1) + e.ordinal, e.tier_id, t.share_id, e.event_utc,
       nullif(e.actor, ''), nullif(e.host, ''), clock_timestamp()
     FROM event e JOIN tier_object t ON t.tenant_id = $1 AND t.tier_id = e.tier_id`,
    [
      tenantId,
      plainArray(warming.map(({ file }) => file.stubbedTierId)),
      plainArray(warming.map(({ event }) => event.timeMicros)),
      textArray(warming.map(({ event }) => event.user)),
      textArray(warming.map(({ event }) => event.host)),
    ],
  );
}
