/** Who did it, as records keep it. */
import type { ClientBase } from "pg";

const tokenPrefix = "token ";

/** The caller's id of a token: there is no row for it, so it says all. */
export function tokenCallerId(issuer: string, subject: string): string {
  return `${tokenPrefix}${issuer} ${subject}`;
}

/** Whether a caller's id is one of tokenCallerId's; if not, it is a key's. */
export function isTokenCaller(callerId: string): boolean {
  return callerId.startsWith(tokenPrefix);
}

/** The key's name and id: names are for people and need not be unique. Of a token its issuer and subject. Within a transaction of the tenant. */
export async function actorOf(client: ClientBase, tenantId: string, callerId: string): Promise<string> {
  if (isTokenCaller(callerId)) return callerId;
  const { rows } = await client.query<{ name: string }>("SELECT name FROM api_key WHERE tenant_id = $1 AND key_id = $2", [
    tenantId,
    callerId,
  ]);
  return rows[0] === undefined ? callerId : `${rows[0].name} (${callerId})`;
}
