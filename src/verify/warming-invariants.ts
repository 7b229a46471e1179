/** What must always be true of warming; see invariants.ts. */
import type { Invariant } from "./invariants.js";

export const warmingInvariants: Invariant[] = [
  {
    name: "warming_event-object",
    holds: "a warming event is of a tier object of its share",
    sql: `SELECT format('warming_event %s: tier_object %s of share %s', e.position, e.tier_id, e.share_id) AS row FROM warming_event e
      LEFT JOIN tier_object t ON t.tenant_id = e.tenant_id AND t.tier_id = e.tier_id AND t.share_id = e.share_id
      WHERE e.tenant_id = $1 AND t.tier_id IS NULL`,
  },
  {
    name: "warming-positions",
    holds: "no two warming events or storms have one position, and none has one that was not given away",
    sql: `SELECT format('position %s: given to %s, the last one is %s', p.position, count(*), max(l.last_position)) AS row
      FROM (SELECT tenant_id, position FROM warming_event WHERE tenant_id = $1
        UNION ALL SELECT tenant_id, position FROM warming_storm WHERE tenant_id = $1) p
      LEFT JOIN warming_position l ON l.tenant_id = $1 AND l.tenant_id = p.tenant_id
      GROUP BY p.position HAVING count(*) > 1 OR p.position NOT BETWEEN 1 AND coalesce(max(l.last_position), 0)`,
  },
  {
    name: "warming_event-once",
    holds: "an audit event is at most one access to an object",
    sql: `SELECT format('tier_object %s: event %s is %s accesses', tier_id, event_id, count(*)) AS row FROM warming_event
      WHERE tenant_id = $1 AND event_id IS NOT NULL GROUP BY tier_id, event_id HAVING count(*) > 1`,
  },
  {
    name: "warming_event-storm",
    holds: "an access that counts as part of a storm lies in the time of one on its share",
    sql: `SELECT format('warming_event %s: share %s, %s', e.position, e.share_id, e.event_utc) AS row FROM warming_event e
      WHERE e.tenant_id = $1 AND e.in_storm AND NOT EXISTS (SELECT FROM warming_storm s WHERE s.tenant_id = $1 AND s.tenant_id = e.tenant_id
        AND s.share_id = e.share_id AND s.began_utc <= e.event_utc AND e.event_utc < s.until_utc)`,
  },
];
