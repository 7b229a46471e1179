/** Stopping in named phases, each with a deadline, so that one that hangs does not keep the rest from happening. */
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../log.js";

/** Runs `work` to its end or to the deadline, whichever is first. True when it ended; errors are logged, not thrown: what comes next must run. */
export async function runPhase(log: Logger, phase: string, deadlineMs: number, work: () => Promise<unknown> | unknown): Promise<boolean> {
  const timer = new AbortController();
  const late = Symbol("late");
  try {
    const first = await Promise.race([work(), delay(deadlineMs, late, { signal: timer.signal })]);
    if (first !== late) {
      log.debug({ phase }, "stopping: phase done");
      return true;
    }
    log.warn({ phase, deadlineMs }, "stopping: phase not done in time, going on");
  } catch (error) {
    log.error({ phase, err: error }, "stopping: phase failed, going on");
  } finally {
    timer.abort();
  }
  return false;
}
