/** What the planner's large statements are made with. */
import type { Params } from "./cel/index.js";

/** The values of one statement: user text never stands in its SQL. */
export class StatementParams implements Params {
  readonly values: unknown[] = [];

  /** Returns the value's place, `$n`. */
  add(value: unknown): string {
    return `$${this.values.push(value)}`;
  }
}

/**
 * What opens the planner's transactions, before anything is read: all statements see one moment, and they read whole shares. Without
 * statistics a nested loop over a million files looks cheap; compiling the statement costs more than it saves (bench/README.md).
 */
export const plannerSettings = `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = '10min';
  SET LOCAL enable_nestloop = off; SET LOCAL jit = off; SET LOCAL work_mem = '64MB'`;
