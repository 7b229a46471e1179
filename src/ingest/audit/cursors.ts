/** How far each audit file was read. */
import type { ClientBase, Pool } from "pg";
import { plainArray, textArray } from "../../db/array-literals.js";
import { inTenant, readTenant } from "../../db/tenant.js";
import { together } from "../../db/together.js";
import { DomainError } from "../../errors.js";

export interface Cursor {
  auditFilePath: string;
  /** The byte after the last line that was applied. */
  position: bigint;
  generation: number;
  headFingerprint: Uint8Array;
  lastEventId: string | null;
  lastProcessedUtc: Date;
}

const selectCursor = `SELECT audit_file_path AS "auditFilePath", last_position AS position, generation, coalesce(head_fingerprint, '') AS "headFingerprint",
  last_event_id AS "lastEventId", last_processed_utc AS "lastProcessedUtc" FROM lucid_audit_cursor WHERE tenant_id = $1 AND volume_id = $2`;

/**
 * The cursors of files by path, made at their start when they are new; locked, so that of two agents on one file the second
 * waits for the first. Locked in the order of paths: two who want the same ones do not wait for each other.
 */
export async function lockCursors(
  client: ClientBase,
  tenantId: string,
  volumeId: string,
  auditFilePaths: string[],
): Promise<Map<string, Cursor>> {
  const values = [tenantId, volumeId, textArray([...auditFilePaths].sort())];
  const [, { rows }] = await together([
    client.query(
      `INSERT INTO lucid_audit_cursor (tenant_id, volume_id, audit_file_path) SELECT $1, $2, path FROM unnest($3::text[]) AS path
       ON CONFLICT DO NOTHING`,
      values,
    ),
    client.query<Cursor>(`${selectCursor} AND audit_file_path = ANY($3::text[]) ORDER BY audit_file_path COLLATE "C" FOR UPDATE`, values),
  ]);
  if (rows.length < auditFilePaths.length)
    throw new DomainError("ABORTED", "Where audit files were read to is being erased, with their share. Begin again.", {
      reason: "SHARE_ERASED",
      retryDelayMs: 1000,
    });
  return new Map(rows.map((cursor) => [cursor.auditFilePath, cursor]));
}

export async function advanceCursors(client: ClientBase, tenantId: string, volumeId: string, cursors: Cursor[]): Promise<void> {
  await client.query(
    `UPDATE lucid_audit_cursor c SET last_position = n.position, generation = n.generation, head_fingerprint = n.fingerprint,
       last_event_id = nullif(n.event_id, ''), last_processed_utc = now()
     FROM unnest($3::text[], $4::bigint[], $5::integer[], $6::bytea[], $7::text[]) AS n (path, position, generation, fingerprint, event_id)
     WHERE c.tenant_id = $1 AND c.volume_id = $2 AND c.audit_file_path = n.path`,
    [
      tenantId,
      volumeId,
      textArray(cursors.map(({ auditFilePath }) => auditFilePath)),
      plainArray(cursors.map(({ position }) => position)),
      plainArray(cursors.map(({ generation }) => generation)),
      textArray(cursors.map(({ headFingerprint }) => `\\x${Buffer.from(headFingerprint).toString("hex")}`)),
      textArray(cursors.map(({ lastEventId }) => lastEventId ?? "")),
    ],
  );
}

/** Throws NOT_FOUND when nothing of the file was read. */
export async function getCursor(pool: Pool, tenantId: string, volumeId: string, auditFilePath: string): Promise<Cursor> {
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Cursor>(`${selectCursor} AND audit_file_path = $3`, [tenantId, volumeId, auditFilePath]);
    return rows[0] ?? notFound(auditFilePath);
  });
}

/** By path, after `after`. */
export async function listCursors(
  pool: Pool,
  tenantId: string,
  volumeId: string,
  after: string | undefined,
  limit: number,
): Promise<Cursor[]> {
  return readTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Cursor>(
      `${selectCursor} AND ($3::text IS NULL OR audit_file_path > $3) ORDER BY audit_file_path LIMIT $4`,
      [tenantId, volumeId, after ?? null, limit],
    );
    return rows;
  });
}

/** Throws NOT_FOUND, and INVALID_ARGUMENT when the position is not before the cursor. */
export async function resetCursor(
  pool: Pool,
  tenantId: string,
  volumeId: string,
  auditFilePath: string,
  position: bigint,
): Promise<Cursor> {
  return inTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Cursor>(`${selectCursor} AND audit_file_path = $3 FOR UPDATE`, [tenantId, volumeId, auditFilePath]);
    const cursor = rows[0] ?? notFound(auditFilePath);
    if (position < 0n || position > cursor.position) {
      throw new DomainError(
        "INVALID_ARGUMENT",
        `position is ${position}; the cursor can be set back from ${cursor.position}, to 0 at the least.`,
        {
          reason: "INVALID_FIELD",
          metadata: { field: "position" },
        },
      );
    }
    // Read again, its events are new ones: a generation of their own.
    await advanceCursors(client, tenantId, volumeId, [{ ...cursor, position, generation: cursor.generation + 1 }]);
    return { ...cursor, position, generation: cursor.generation + 1 };
  });
}

function notFound(auditFilePath: string): never {
  throw new DomainError("NOT_FOUND", `Nothing of the audit file ${JSON.stringify(auditFilePath)} was read.`, {
    reason: "CURSOR_NOT_FOUND",
    metadata: { audit_file_path: auditFilePath },
  });
}
