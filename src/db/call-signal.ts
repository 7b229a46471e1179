/** Whose work a transaction is: the signal of the call that it belongs to, without which every function down to here would hand it on. */
import { AsyncLocalStorage } from "node:async_hooks";

const signals = new AsyncLocalStorage<AbortSignal>();

/** Transactions that `work` begins are rolled back, their statements cancelled, when the signal aborts. */
export function withCallSignal<T>(signal: AbortSignal, work: () => T): T {
  return signals.run(signal, work);
}

/** undefined: the work is nobody's call, and goes on to its end. */
export function callSignal(): AbortSignal | undefined {
  return signals.getStore();
}
