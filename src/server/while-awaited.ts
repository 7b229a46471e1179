/** A unary call's work, for as long as somebody waits for it. */
import { withCallSignal } from "../db/call-signal.js";

/**
 * Rejects with the signal's reason as soon as it aborts; the work is left to end by itself, which it soon does, as its
 * transactions are rolled back. What the work left running when it was done is no part of the call any more.
 */
export async function whileAwaited<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const call = new AbortController();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      call.abort(signal.reason);
      reject(signal.reason);
    };
  });
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    return await Promise.race([withCallSignal(call.signal, work), aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
