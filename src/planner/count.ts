/** Counts a share's files by what the rules make of them. Reads alone. */
import type { ClientBase } from "pg";
import { type ClassifyRequest, chosenSql, hasCaps, matchedSql } from "./classify.js";
import { type Funnel, funnelOf, type Group } from "./funnel.js";
import { StatementParams } from "./statement.js";

interface GroupRow {
  mask: bigint;
  reason: number;
  age_class: number;
  size_class: number;
  files: bigint;
  bytes: string;
  allocated_bytes: string;
  least_id: bigint;
  greatest_id: bigint;
}

const groups = `mask, reason, age_class, size_class, count(*) AS files, sum(size_bytes) AS bytes, sum(allocated_bytes) AS allocated_bytes,
  min(file_current_id) AS least_id, max(file_current_id) AS greatest_id`;

/** Within a transaction that sees one moment; with no rule there is nothing to count. */
export async function countFunnel(client: ClientBase, request: ClassifyRequest): Promise<Funnel> {
  if (request.rules.length === 0) return funnelOf([], [], []);
  const matched = await countMatched(client, request);
  return funnelOf(request.rules, matched, request.rules.some(hasCaps) ? await countWithinCaps(client, request) : []);
}

/** One pass; the groups are some hundreds at most. */
async function countMatched(client: ClientBase, request: ClassifyRequest): Promise<Group[]> {
  const params = new StatementParams();
  const { rows } = await client.query<GroupRow>(
    `SELECT ${groups} FROM (${matchedSql(request, params)}) matched GROUP BY mask, reason, age_class, size_class`,
    params.values,
  );
  return rows.map(toGroup);
}

async function countWithinCaps(client: ClientBase, request: ClassifyRequest): Promise<Group[]> {
  const params = new StatementParams();
  const { rows } = await client.query<GroupRow>(
    `WITH matched AS (${matchedSql(request, params)}), chosen AS (${chosenSql(request.rules, params, hasCaps)})
     SELECT ${groups} FROM chosen GROUP BY mask, reason, age_class, size_class`,
    params.values,
  );
  return rows.map(toGroup);
}

function toGroup(row: GroupRow): Group {
  return {
    mask: row.mask,
    reason: row.reason,
    ageClass: row.age_class,
    sizeClass: row.size_class,
    files: row.files,
    bytes: BigInt(row.bytes),
    allocatedBytes: BigInt(row.allocated_bytes),
    fileIds: [row.least_id, row.greatest_id],
  };
}
