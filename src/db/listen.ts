/** A connection that only listens, made again whenever it breaks. */
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";

/** A connection that the network has swallowed says nothing: a question from time to time finds out. */
const probeIntervalMs = 30_000;
const firstRetryMs = 200;
const retryMsAtMost = 5_000;
/** For the farewell; a connection that does not answer is left to the system. */
const endMs = 1_000;

export interface ListenOptions {
  connection: pg.ClientConfig;
  /** An SQL identifier. */
  channel: string;
  onMessage: (payload: string) => void;
  /** From now on nothing is missed; what was told before, since the last time, was. */
  onUp: () => void;
  /** Nothing is heard until the next `onUp`. */
  onDown: (error: unknown) => void;
  /** Ends it. */
  signal: AbortSignal;
}

/** Listens until `signal` aborts; resolves once the connection is closed, and never rejects. Needs a direct connection, or a session-mode pooler. */
export async function listen(options: ListenOptions): Promise<void> {
  const { signal } = options;
  let retryMs = firstRetryMs;
  while (!signal.aborted) {
    try {
      await listenOnce({
        ...options,
        onUp: () => {
          retryMs = firstRetryMs;
          options.onUp();
        },
      });
    } catch (error) {
      if (signal.aborted) return;
      options.onDown(error);
      await delay(retryMs, undefined, { signal }).catch(() => {});
      retryMs = Math.min(2 * retryMs, retryMsAtMost);
    }
  }
}

/** Rejects when the connection breaks, or the signal aborts. */
async function listenOnce({ connection, channel, onMessage, onUp, signal }: ListenOptions): Promise<never> {
  const client = new pg.Client(connection);
  const broken = new Promise<never>((_, reject) => {
    client.on("error", reject);
    client.on("end", () => reject(new Error("The database closed the connection.")));
  });
  // Met where it is raced against; it may come while nothing is.
  broken.catch(() => {});
  try {
    await client.connect();
    client.on("notification", ({ payload }) => onMessage(payload ?? ""));
    await client.query(`LISTEN ${pg.escapeIdentifier(channel)}`);
    onUp();
    for (;;) {
      await Promise.race([broken, delay(probeIntervalMs, undefined, { signal })]);
      await client.query("SELECT 1");
    }
  } finally {
    await Promise.race([client.end(), delay(endMs, undefined, { ref: false })]).catch(() => {});
  }
}
