/** Ends what a connection is at when nobody waits for it any more. */
import { setTimeout as delay } from "node:timers/promises";

/** A cancellation that arrives between two statements has no effect: it is sent again until the transaction is over. */
const againMs = 200;

export interface Cancelling {
  /** No cancellation is on its way any more once this resolves: it would hit what the connection does next. Never rejects. */
  over(): Promise<void>;
}

/** Calls `cancel` when the signal aborts, and again until `over` is called. */
export function cancelOnAbort(signal: AbortSignal, cancel: () => Promise<unknown>): Cancelling {
  const ended = new AbortController();
  let sending: Promise<void> | undefined;
  const send = async () => {
    while (!ended.signal.aborted) {
      // One that fails is as one that came too early; and the database ends a statement of its own after its timeout.
      await cancel().catch(() => {});
      await delay(againMs, undefined, { signal: ended.signal }).catch(() => {});
    }
  };
  const begin = () => {
    sending = send();
  };
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin, { once: true });
  return {
    over() {
      signal.removeEventListener("abort", begin);
      ended.abort();
      return sending ?? Promise.resolve();
    },
  };
}
