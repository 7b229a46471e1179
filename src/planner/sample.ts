/** Some files by their ids, as a sample shows them. */
import type { ClientBase } from "pg";
import { renderPath, type SourceType } from "../paths.js";
import { lastUsedSql } from "./columns.js";

export interface SampleFile {
  fileId: bigint;
  /** In the share's own style. */
  path: string;
  sizeBytes: bigint;
  lastUsedUnix: bigint;
}

/** What the paths of all samples of one answer may take together: a message has 4 MiB, a path up to 98 KiB. */
export interface SampleBudget {
  bytesLeft: number;
}

export function sampleBudget(): SampleBudget {
  return { bytesLeft: 1024 * 1024 };
}

/** In the order of `fileIds`; without those whose paths no longer fit. */
export async function loadSample(
  client: ClientBase,
  tenantId: string,
  srcType: SourceType,
  fileIds: bigint[],
  budget: SampleBudget,
): Promise<SampleFile[]> {
  if (fileIds.length === 0) return [];
  // A handful of rows by their keys: the one statement here for which a nested loop is right.
  await client.query("SET LOCAL enable_nestloop = on");
  const { rows } = await client.query<{ file_current_id: bigint; dir_path: string; name: string; size_bytes: bigint; last_used: bigint }>(
    `SELECT c.file_current_id, d.dir_path, c.name, coalesce(c.size_bytes, 0) AS size_bytes, ${lastUsedSql("c")} AS last_used
     FROM unnest($2::bigint[]) WITH ORDINALITY AS wanted (file_current_id, ordinal)
     JOIN file_current c ON c.file_current_id = wanted.file_current_id
     JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
     WHERE c.tenant_id = $1 AND d.tenant_id = $1 ORDER BY wanted.ordinal`,
    [tenantId, fileIds],
  );
  await client.query("SET LOCAL enable_nestloop = off");
  const files = rows.map((row) => ({
    fileId: row.file_current_id,
    path: renderPath(srcType, row.dir_path, row.name),
    sizeBytes: row.size_bytes,
    lastUsedUnix: row.last_used,
  }));
  return files.filter(({ path }) => {
    const bytes = Buffer.byteLength(path);
    if (bytes > budget.bytesLeft) return false;
    budget.bytesLeft -= bytes;
    return true;
  });
}
