/** When and how often to try again. */
import { setTimeout as sleep } from "node:timers/promises";
import { RpcError } from "./rpc-error.js";

export interface RetryPolicy {
  /** The first wait is a random time up to this, in ms; each later one up to twice as much. */
  baseDelayMs: number;
  /** ... but never up to more than this. */
  maxDelayMs: number;
  /** Gives up when calls have failed for so long, and nothing got ahead, in ms. */
  maxElapsedMs: number;
}

export const defaultRetryPolicy: RetryPolicy = { baseDelayMs: 200, maxDelayMs: 15_000, maxElapsedMs: 600_000 };

/** The server says no to these however often they are sent. */
const finalReasons = new Set(["MESSAGE_TOO_LARGE", "TOO_MANY_PROBLEMS"]);
const retryableCodes = new Set(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"]);
/** Without a reason these are not Frostline's words, but a broken connection's or a proxy's. */
const transportCodes = new Set(["INTERNAL", "UNKNOWN", "CANCELLED"]);

/** Whether the same call may succeed later. */
export function isRetryable(error: unknown): error is RpcError {
  if (!(error instanceof RpcError) || finalReasons.has(error.reason)) return false;
  return retryableCodes.has(error.code) || (error.reason === "" && transportCodes.has(error.code));
}

/** Whether the call failed because its server is stopping, not ready, or not there any more: another one may do it. */
export function isConnectionLost(error: unknown): boolean {
  return error instanceof RpcError && (error.code === "UNAVAILABLE" || (error.reason === "" && transportCodes.has(error.code)));
}

export interface Retrier {
  /** Something got ahead: patience begins anew. */
  progressed(): void;
  /** Waits before the next try. Rejects with the error if it is final or patience is at its end, with the signal's reason if aborted. */
  wait(error: unknown): Promise<void>;
  /** Runs a call until it succeeds. */
  run<T>(call: () => Promise<T>): Promise<T>;
}

/** `onWait` is called before each wait. Full jitter: a fleet that lost its server does not come back all at once. */
export function createRetrier(policy: RetryPolicy, signal: AbortSignal | undefined, onWait: () => void = () => {}): Retrier {
  let tries = 0;
  /** When the first failure since the last progress was, in ms. */
  let failingSinceMs: number | undefined;

  async function wait(error: unknown): Promise<void> {
    signal?.throwIfAborted();
    if (!isRetryable(error)) throw error;
    const upToMs = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** tries);
    tries = Math.min(tries + 1, 30);
    const delayMs = Math.random() * upToMs + (error.retryDelayMs ?? 0);
    failingSinceMs ??= performance.now();
    if (performance.now() + delayMs - failingSinceMs > policy.maxElapsedMs) throw error;
    onWait();
    await sleep(delayMs, undefined, { signal });
  }

  return {
    progressed() {
      tries = 0;
      failingSinceMs = undefined;
    },
    wait,
    async run(call) {
      for (;;) {
        try {
          return await call();
        } catch (error) {
          await wait(error);
        }
      }
    },
  };
}
