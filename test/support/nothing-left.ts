/** What no scenario may leave behind, whoever was killed in it: transactions, locks, temporary tables, streams. */
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { expect } from "vitest";
import { type TestDatabase, withClient } from "./postgres.js";
import type { LocalServer } from "./server.js";

/** PostgreSQL notices that a client was killed when it next sends it something, and a server that a call's client is gone as soon. */
const settleMs = 20_000;

/**
 * Waits until nothing is left: of a database that is `served`, no transaction of Frostline's and none of its locks; of one that no server
 * serves any more, no connection. Fails with what there is. `crashed`: PostgreSQL was, and forgets temporary tables only when it comes by.
 */
export async function expectNothingLeft(
  database: Pick<TestDatabase, "superuserUrl">,
  { served, servers = [], crashed = false }: { served: boolean; servers?: Pick<LocalServer, "openCalls">[]; crashed?: boolean },
): Promise<void> {
  await withClient(database.superuserUrl, async (client) => {
    const left = async () => {
      const { rows } = await client.query<{ line: string }>(leftBehind, [served, crashed]);
      return rows.map(({ line }) => line);
    };
    await settle(left, []);
  });
  for (const { openCalls } of servers) await settle(openCalls, 0);
}

/** expect.poll(), in hooks as well. */
async function settle<T>(read: () => T | Promise<T>, wanted: T): Promise<void> {
  for (const untilMs = performance.now() + settleMs; performance.now() < untilMs; await delay(100)) {
    if (isDeepStrictEqual(await read(), wanted)) return;
  }
  expect(await read()).toEqual(wanted);
}

/** Each connection that merges has temporary tables of its own, as long as it lasts. */
const leftBehind = `
  SELECT concat_ws(' ', 'connection of', application_name, state, left(query, 200)) AS line FROM pg_stat_activity
  WHERE datname = current_database() AND application_name LIKE 'frostline%' AND NOT ($1::boolean AND state = 'idle')
  UNION ALL
  SELECT concat_ws(' ', l.mode, 'on', l.locktype, l.relation::regclass, 'of', a.application_name, left(a.query, 200))
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE a.datname = current_database() AND a.application_name LIKE 'frostline%' AND l.locktype <> 'virtualxid'
  UNION ALL
  SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = current_database()
  UNION ALL
  SELECT format('temporary tables of %s connections, there are %s', made.connections, there.connections)
  FROM (SELECT count(DISTINCT relnamespace) AS connections FROM pg_class WHERE relpersistence = 't' AND relkind = 'r') made,
    (SELECT count(*) AS connections FROM pg_stat_activity WHERE datname = current_database() AND application_name IN ('frostline-ingest', 'frostline-audit')) there
  WHERE made.connections > there.connections AND NOT $2`;
