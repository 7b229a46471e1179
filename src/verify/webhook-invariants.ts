/** What must always be true of stored secrets and webhooks; see invariants.ts. */
import type { Invariant } from "./invariants.js";

export const webhookInvariants: Invariant[] = [
  {
    name: "webhook-secret",
    holds: "a webhook's secrets are sealed under a data key that its tenant has",
    sql: `SELECT format('webhook %s: sealed as %s..., data keys up to %s%s', s.webhook_id, substr(s.sealed, 1, 5), t.dek_no,
        CASE WHEN t.previous_encrypted_dek IS NULL THEN '' ELSE ' and the one before' END) AS row
      FROM (SELECT tenant_id, webhook_id, secret AS sealed FROM webhook WHERE tenant_id = $1
        UNION ALL SELECT tenant_id, webhook_id, previous_secret FROM webhook WHERE tenant_id = $1 AND previous_secret IS NOT NULL) s
      JOIN tenant t ON t.tenant_id = s.tenant_id
      WHERE t.tenant_id = $1 AND CASE WHEN s.sealed ~ '^s1\\.[1-9]\\d{0,8}\\.[A-Za-z0-9_-]+$'
        THEN split_part(s.sealed, '.', 2)::integer NOT IN (t.dek_no, CASE WHEN t.previous_encrypted_dek IS NULL THEN t.dek_no ELSE t.dek_no - 1 END) ELSE true END`,
  },
  {
    name: "webhook-position",
    holds: "no webhook was told of warming at a position that was not given away",
    sql: `SELECT format('webhook %s: told up to %s, the last position is %s', w.webhook_id, w.warming_position, coalesce(p.last_position, 0)) AS row FROM webhook w
      LEFT JOIN warming_position p ON p.tenant_id = w.tenant_id
      WHERE w.tenant_id = $1 AND w.warming_position > coalesce(p.last_position, 0)`,
  },
  {
    name: "webhook_delivery-disabled",
    holds: "no message waits for a webhook that is disabled",
    sql: `SELECT format('webhook_delivery %s: webhook %s is disabled since %s', d.delivery_id, d.webhook_id, w.disabled_utc) AS row FROM webhook_delivery d
      JOIN webhook w ON w.tenant_id = d.tenant_id AND w.webhook_id = d.webhook_id
      WHERE d.tenant_id = $1 AND w.tenant_id = $1 AND d.state = 'PENDING' AND w.disabled_utc IS NOT NULL`,
  },
  {
    name: "webhook_delivery-positions",
    holds: "a message of warming has positions, all of which its webhook is told of; no other has any",
    sql: `SELECT format('webhook_delivery %s: %s, positions %s to %s, webhook %s is told up to %s', d.delivery_id, d.event_type, d.from_position, d.to_position,
        d.webhook_id, w.warming_position) AS row FROM webhook_delivery d
      JOIN webhook w ON w.tenant_id = d.tenant_id AND w.webhook_id = d.webhook_id
      WHERE d.tenant_id = $1 AND w.tenant_id = $1 AND ((d.event_type LIKE 'warming.%' AND d.from_position IS NULL)
        OR (d.event_type NOT LIKE 'warming.%' AND d.from_position IS NOT NULL) OR d.to_position > w.warming_position)`,
  },
];
