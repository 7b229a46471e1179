/**
 * Advisory locks, each held for one transaction.
 *
 * | lock | shared by | exclusive by |
 * |---|---|---|
 * | share | segments | finish and abort of a scan, audit batches |
 * | writer | the writer's segments | the opening of its next stream |
 */
import type { ClientBase } from "pg";

const keyOf = {
  share: (shareId: bigint) => `share ${shareId}`,
  writer: (scanId: bigint, writer: string) => `scan ${scanId} writer ${writer}`,
};

export async function lockShare(client: ClientBase, shareId: bigint, mode: "shared" | "exclusive"): Promise<void> {
  await lock(client, keyOf.share(shareId), mode);
}

export async function lockWriter(client: ClientBase, scanId: bigint, writer: string, mode: "shared" | "exclusive"): Promise<void> {
  await lock(client, keyOf.writer(scanId, writer), mode);
}

/** A statement of its own: what is read after it must be read in a snapshot taken after it. */
async function lock(client: ClientBase, key: string, mode: "shared" | "exclusive"): Promise<void> {
  const name = mode === "shared" ? "pg_advisory_xact_lock_shared" : "pg_advisory_xact_lock";
  await client.query(`SELECT ${name}(hashtextextended($1, 0))`, [key]);
}
