/** What must not be left when the work is done. */
import { expect } from "vitest";
import { withClient } from "../support/postgres.js";
import type { World } from "./inject.js";

/** Sessions of killed servers end when PostgreSQL notices; idle connections of agents, when their processes have ended. */
const patience = { timeout: 30_000, interval: 250 };
/** Beside what a server held before the work began: caches, and code that was compiled meanwhile. */
const grownBytesAtMost = 48 * 1024 * 1024;

/** With the servers still up, and nothing for them to do: no call, no merge, no transaction, and no connection of an agent. */
export async function expectIdle({ servers, links, postgres }: World): Promise<void> {
  for (const server of servers) {
    const busy = async () => {
      const metrics = await server.metrics();
      const named = ["frostline_open_calls", "frostline_segments_in_flight", "frostline_buffered_bytes", "frostline_merge_waiting"];
      const pools = [...metrics.keys()].filter((name) => /^frostline_pool_connections\{.*state="(in_use|waiting)"/.test(name));
      return [...named, ...pools].filter((name) => metrics.get(name) !== 0).map((name) => `${name} ${metrics.get(name)}`);
    };
    await expect.poll(busy, { ...patience, message: server.name }).toEqual([]);
  }
  const agents = () => links.filter(({ name }) => name.startsWith("agents")).reduce((sum, { connections }) => sum + connections, 0);
  await expect.poll(agents, { ...patience, message: "connections of agents" }).toBe(0);
  const busySessions = () =>
    look(
      postgres.database.superuserUrl,
      `SELECT application_name || ' ' || state || ': ' || left(query, 200) AS line FROM pg_stat_activity
       WHERE usename LIKE 'frostline%' AND state <> 'idle'`,
    );
  await expect.poll(busySessions, { ...patience, message: "sessions" }).toEqual([]);
}

/** With the servers gone: no session, lock, prepared transaction or temporary table of theirs. */
export async function expectNothingLeft({ postgres }: World): Promise<void> {
  const left = () =>
    look(
      postgres.database.superuserUrl,
      `SELECT 'session ' || application_name || ' ' || state AS line FROM pg_stat_activity WHERE usename LIKE 'frostline%'
       UNION ALL SELECT 'lock ' || locktype || ' ' || mode FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype IN ('relation', 'tuple', 'advisory')
         AND pid IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend')
       UNION ALL SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts
       UNION ALL SELECT 'temporary table ' || relname FROM pg_class WHERE relpersistence = 't' AND relkind = 'r'`,
    );
  await expect.poll(left, patience).toEqual([]);
}

/** `floor`: what each server held before, by name. */
export async function expectMemoryBack({ servers }: World, floor: Map<string, number>): Promise<void> {
  for (const server of servers) {
    const grown = async () => (await server.heldBytes()) - (floor.get(server.name) ?? 0);
    await expect.poll(grown, { ...patience, message: `bytes that ${server.name} holds beside its floor` }).toBeLessThan(grownBytesAtMost);
  }
}

async function look(url: string, sql: string): Promise<string[]> {
  return withClient(url, async (client) => (await client.query<{ line: string }>(sql)).rows.map(({ line }) => line));
}
