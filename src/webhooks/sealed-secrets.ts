/** The secrets that messages are signed with, as they are stored: sealed under the tenant's data key. */
import type { ClientBase } from "pg";
import type { SecretPlace } from "../secrets/data-keys.js";
import type { SecretStore } from "../secrets/rotate.js";

export function secretPlace(tenantId: string, webhookId: string): SecretPlace {
  // The one before a rotation moves to another column as it is.
  return { tenantId, purpose: "webhook.secret", rowId: webhookId };
}

/** What rotating a data key goes through. */
export const webhookSecrets: SecretStore = {
  async resealOlder(client, keys, tenantId, no, limit) {
    const rows = await lockOlder(client, tenantId, no, limit);
    for (const { webhook_id: webhookId, secret, previous_secret: previous } of rows) {
      const place = secretPlace(tenantId, webhookId);
      const again = async (sealed: string) => keys.seal(client, place, await keys.open(client, place, sealed));
      await client.query("UPDATE webhook SET secret = $3, previous_secret = $4 WHERE tenant_id = $1 AND webhook_id = $2", [
        tenantId,
        webhookId,
        await again(secret),
        previous === null ? null : await again(previous),
      ]);
    }
    return rows.length;
  },
};

interface SealedRow {
  webhook_id: string;
  secret: string;
  previous_secret: string | null;
}

async function lockOlder(client: ClientBase, tenantId: string, no: number, limit: number): Promise<SealedRow[]> {
  const { rows } = await client.query<SealedRow>(
    `SELECT webhook_id, secret, previous_secret FROM webhook
     WHERE tenant_id = $1 AND least(split_part(secret, '.', 2)::integer, split_part(previous_secret, '.', 2)::integer) < $2
     ORDER BY webhook_id LIMIT $3 FOR UPDATE`,
    [tenantId, no, limit],
  );
  return rows;
}
