/** What the bench's database wrote, and how large its tables are. */
import type { Client } from "pg";

export interface Relation {
  /** A table, an index, or what holds a table's long values. */
  name: string;
  /** The table that it belongs to; of a partition, the whole table. */
  table: string;
  bytes: number;
}

export interface Growth extends Relation {
  /** Since then. */
  grownBytes: number;
}

/** Bytes of WAL since the cluster was made. */
export async function walPosition(look: Client): Promise<bigint> {
  const { rows } = await look.query<{ at: string }>("SELECT pg_current_wal_insert_lsn() - '0/0' AS at");
  return BigInt((rows[0] as { at: string }).at);
}

export async function relations(look: Client): Promise<Relation[]> {
  const { rows } = await look.query<Relation>(
    `WITH stored AS (
       SELECT c.oid, c.relname AS name, COALESCE(i.indrelid, c.oid) AS base
       FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
       WHERE c.relkind IN ('r', 'i', 't') AND c.relnamespace IN ('public'::regnamespace, 'pg_toast'::regnamespace))
     SELECT s.name, COALESCE(pg_partition_root(t.oid), t.oid)::regclass::text AS table, pg_relation_size(s.oid)::float8 AS bytes
     FROM stored s JOIN pg_class t ON t.oid = s.base OR t.reltoastrelid = s.base
     WHERE t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace`,
  );
  return rows;
}

/** Those that grew, the most first. */
export function growth(before: Relation[], after: Relation[]): Growth[] {
  const bytesBefore = new Map(before.map(({ name, bytes }) => [name, bytes]));
  return after
    .map((relation) => ({ ...relation, grownBytes: relation.bytes - (bytesBefore.get(relation.name) ?? 0) }))
    .filter(({ grownBytes }) => grownBytes > 0)
    .sort((a, b) => b.grownBytes - a.grownBytes);
}
