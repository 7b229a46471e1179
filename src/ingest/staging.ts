/** The staging tables of a segment: filled, looked over, cleared of what is refused. $1 is always the tenant. */
import { pipeline } from "node:stream/promises";
import type { PoolClient } from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { plainArray } from "../db/array-literals.js";
import type { CopyRows } from "./copy-rows.js";
import type { StagedDirectory } from "./segment.js";

/** Streams the rows into staging_file. Returns how many the server took. */
export async function copyStagingFile(client: PoolClient, rows: CopyRows): Promise<number> {
  const copy = client.query(
    copyFrom(
      `COPY staging_file (tenant_id, ordinal, dir_id, name, file_extension, link_count, refused, size_bytes, allocated_bytes,
         atime_unix, mtime_unix, ctime_unix, frn, owner, file_hash) FROM STDIN (FORMAT binary)`,
    ),
  );
  await pipeline(rows, copy);
  return copy.rowCount;
}

export async function insertStagingDir(client: PoolClient, tenantId: string, directories: StagedDirectory[]): Promise<void> {
  await client.query(
    `INSERT INTO staging_dir (tenant_id, dir_id, complete, unreadable, listed_utc)
     SELECT $1, d.dir_id, d.complete, NOT d.complete, to_timestamp(d.listed_unix_s)
     FROM unnest($2::bigint[], $3::boolean[], $4::double precision[]) AS d (dir_id, complete, listed_unix_s)`,
    [
      tenantId,
      plainArray(directories.map((d) => d.dirId)),
      plainArray(directories.map((d) => d.complete)),
      plainArray(directories.map((d) => d.listedUnixMs / 1000)),
    ],
  );
}

export async function dropStaged(client: PoolClient, tenantId: string, dirIds: bigint[]): Promise<void> {
  const ids = plainArray(dirIds);
  await client.query("DELETE FROM staging_file WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[])", [tenantId, ids]);
  await client.query("DELETE FROM staging_dir WHERE tenant_id = $1 AND dir_id = ANY($2::bigint[])", [tenantId, ids]);
}

/** How many rows of the tenant staging_file holds. A temporary table was empty as the transaction began: it has what was `copied`. */
export async function countRows(client: PoolClient, tenantId: string, copied: number): Promise<bigint> {
  const { rows } = await client.query<{ rows: bigint }>(
    `SELECT CASE WHEN (SELECT relpersistence FROM pg_class WHERE oid = 'staging_file'::regclass) = 't' THEN $2::bigint
       ELSE (SELECT count(*) FROM staging_file WHERE tenant_id = $1) END AS rows`,
    [tenantId, copied],
  );
  return (rows[0] as { rows: bigint }).rows;
}

/** Whether a directory has a name twice. */
export async function anyNameTwice(client: PoolClient, tenantId: string): Promise<boolean> {
  const { rows } = await client.query<{ twice: boolean }>(
    "SELECT EXISTS (SELECT FROM staging_file WHERE tenant_id = $1 GROUP BY dir_id, name HAVING count(*) > 1) AS twice",
    [tenantId],
  );
  return rows[0]?.twice === true;
}

/** Drops all but the first record of a name in a directory. Returns the dropped. Numbers and sorts the rows: never a join of each with each. */
export async function dropDuplicates(client: PoolClient, tenantId: string): Promise<{ dirId: bigint; name: string }[]> {
  const { rows } = await client.query<{ dir_id: bigint; name: string }>(
    `DELETE FROM staging_file WHERE tenant_id = $1 AND ordinal IN (
       SELECT ordinal FROM (
         SELECT ordinal, row_number() OVER (PARTITION BY dir_id, name ORDER BY ordinal) AS nth FROM staging_file WHERE tenant_id = $1
       ) numbered WHERE nth > 1)
     RETURNING dir_id, name`,
    [tenantId],
  );
  return rows.map((row) => ({ dirId: row.dir_id, name: row.name }));
}

/** Files staged that are not refused, and the sum of their sizes (numeric: it may pass 2^63). */
export async function countStaged(client: PoolClient, tenantId: string): Promise<{ files: bigint; sizeBytes: string }> {
  const { rows } = await client.query<{ files: bigint; size_bytes: string }>(
    `SELECT count(*) AS files, coalesce(sum(size_bytes), 0)::text AS size_bytes FROM staging_file WHERE tenant_id = $1 AND NOT refused`,
    [tenantId],
  );
  const { files, size_bytes } = rows[0] as { files: bigint; size_bytes: string };
  return { files, sizeBytes: size_bytes };
}
