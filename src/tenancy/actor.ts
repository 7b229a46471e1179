/** Who did it, as records keep it. */
import type { ClientBase } from "pg";

/** The key's name and id: names are for people and need not be unique. Within a transaction of the tenant. */
export async function actorOf(client: ClientBase, tenantId: string, keyId: string): Promise<string> {
  const { rows } = await client.query<{ name: string }>("SELECT name FROM api_key WHERE tenant_id = $1 AND key_id = $2", [tenantId, keyId]);
  return rows[0] === undefined ? keyId : `${rows[0].name} (${keyId})`;
}
