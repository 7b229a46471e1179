/** What an administrator, or an application beside it, does to the server's sessions in PostgreSQL. */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";

const connectTimeoutMs = 10_000;
/** Quickly, before the servers give back some that they do not need. */
const connectedAtOnce = 20;

/** Ends one session that is in the middle of a COPY; false when none was within `withinMs`. */
export async function terminateCopy(superuserUrl: string, withinMs: number): Promise<boolean> {
  return withBreakable(superuserUrl, (client) => terminate(client, "query ~* '^\\s*COPY '", withinMs));
}

/** ... in the middle of a merge: it is made to wait there. */
export async function terminateMerge(superuserUrl: string, withinMs: number): Promise<boolean> {
  return withBreakable(superuserUrl, (locker) =>
    withBreakable(superuserUrl, async (client) => {
      await locker.query("BEGIN; LOCK TABLE file_current IN EXCLUSIVE MODE");
      return terminate(client, "wait_event_type = 'Lock'", withinMs);
    }),
  );
}

async function terminate(client: pg.Client, condition: string, withinMs: number): Promise<boolean> {
  for (const end = performance.now() + withinMs; performance.now() < end; await delay(1)) {
    const { rowCount } = await client.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE application_name IN ('frostline-ingest', 'frostline-audit') AND state = 'active' AND ${condition} ORDER BY random() LIMIT 1`,
    );
    if (rowCount === 1) return true;
  }
  return false;
}

/** Takes every connection that there is, and gives them back after `forMs`; resolves with how many they were at least. */
export async function takeConnections(runtimeUrl: string, forMs: number): Promise<number> {
  const taken: pg.Client[] = [];
  try {
    for (let refused = false; !refused; ) {
      const more = Array.from({ length: connectedAtOnce }, () => breakable(runtimeUrl, "another application"));
      taken.push(...more);
      const outcomes = await Promise.allSettled(more.map((client) => client.connect()));
      for (const { reason } of outcomes.filter(({ status }) => status === "rejected") as PromiseRejectedResult[]) {
        if (reason.code !== "53300") throw reason;
        refused = true;
      }
    }
    await delay(forMs);
    return taken.length - connectedAtOnce;
  } finally {
    // Those that were refused, or that PostgreSQL has ended meanwhile, are gone already.
    await Promise.all(taken.map((client) => client.end().catch(() => {})));
  }
}

/** One that another fault may end at any time: the statement under way tells. */
function breakable(url: string, name: string): pg.Client {
  const client = new pg.Client({ connectionString: url, application_name: name, connectionTimeoutMillis: connectTimeoutMs });
  client.on("error", () => {});
  return client;
}

async function withBreakable<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = breakable(url, "frostline-faults");
  try {
    await client.connect();
    return await work(client);
  } finally {
    // It may be gone already.
    await client.end().catch(() => {});
  }
}
