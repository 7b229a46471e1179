/** Statements that are sent together on one connection, in one transaction. */
import { sqlState } from "./errors.js";

/** PostgreSQL's answer to each statement behind one that failed. */
const inFailedTransaction = "25P02";

/** As Promise.all, but rejects with the error of the statement that failed: those behind it fail as well, and may be heard of before. */
export async function together<T extends readonly unknown[] | []>(sent: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  try {
    return await Promise.all(sent);
  } catch (error) {
    if (sqlState(error) !== inFailedTransaction) throw error;
    for (const outcome of await Promise.allSettled(sent))
      if (outcome.status === "rejected" && sqlState(outcome.reason) !== inFailedTransaction) throw outcome.reason;
    throw error;
  }
}
