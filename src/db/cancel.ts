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
  let ended = false;
  let sending: Promise<void> | undefined;
  // Made only when something is cancelled: each AbortController that is aborted costs a stack trace, and there is a transaction for each call.
  let waiting: AbortController | undefined;
  const send = async () => {
    while (!ended) {
      // One that fails is as one that came too early; and the database ends a statement of its own after its timeout.
      await cancel().catch(() => {});
      waiting = new AbortController();
      if (!ended) await delay(againMs, undefined, { signal: waiting.signal }).catch(() => {});
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
      ended = true;
      waiting?.abort();
      return sending ?? Promise.resolve();
    },
  };
}
