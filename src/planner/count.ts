/** Counts a share's files by what the rules make of them. Reads alone. */
import type { ClientBase } from "pg";
import { inSpan } from "../tracing.js";
import { type ClassifyRequest, chosenSql, hasCaps, matchedSql } from "./classify.js";
import { type Funnel, funnelOf, type Group } from "./funnel.js";
import { StatementParams } from "./statement.js";

interface GroupRow {
  key: bigint;
  files: bigint;
  bytes: string;
  allocated_bytes: string;
  least_id: bigint;
  greatest_id: bigint;
}

/**
 * SQL that counts the rows of `source` by mask, reason and classes, all in one number. There are few groups, but of expressions over
 * columns PostgreSQL expects as many as rows, and then has one process do all the counting; behind an OFFSET it expects 200. (OFFSET
 * '0': written as a number it is one that is still to be converted, and that keeps a subquery from being run by several processes.)
 */
function groupSql(source: string): string {
  return `SELECT key, count(*) AS files, sum(size_bytes) AS bytes, sum(allocated_bytes) AS allocated_bytes,
      min(file_current_id) AS least_id, max(file_current_id) AS greatest_id
    FROM (
      SELECT (mask << 12) | ((reason << 8) | (age_class << 4) | size_class)::bigint AS key, size_bytes, allocated_bytes, file_current_id FROM ${source}
      OFFSET '0'
    ) keyed
    GROUP BY key`;
}

/** Within a transaction that sees one moment; with no rule there is nothing to count. */
export async function countFunnel(client: ClientBase, request: ClassifyRequest): Promise<Funnel> {
  const { rules } = request;
  if (rules.length === 0) return funnelOf([], [], []);
  return inSpan("frostline.planner.count", { "frostline.rules": rules.length }, async () => {
    const matched = await countMatched(client, request);
    return funnelOf(rules, matched, rules.some(hasCaps) ? await countWithinCaps(client, request) : []);
  });
}

/** One pass; the groups are some hundreds at most. */
async function countMatched(client: ClientBase, request: ClassifyRequest): Promise<Group[]> {
  const params = new StatementParams();
  const { rows } = await client.query<GroupRow>(groupSql(`(${matchedSql(request, params)}) matched`), params.values);
  return rows.map(toGroup);
}

async function countWithinCaps(client: ClientBase, request: ClassifyRequest): Promise<Group[]> {
  const params = new StatementParams();
  const matched = matchedSql(request, params);
  const { rows } = await client.query<GroupRow>(
    `WITH matched AS (${matched}) ${groupSql(`(${chosenSql(request.rules, params, hasCaps)}) chosen`)}`,
    params.values,
  );
  return rows.map(toGroup);
}

function toGroup({ key, files, bytes, allocated_bytes, least_id, greatest_id }: GroupRow): Group {
  return {
    mask: key >> 12n,
    reason: Number((key >> 8n) & 15n),
    ageClass: Number((key >> 4n) & 15n),
    sizeClass: Number(key & 15n),
    files,
    bytes: BigInt(bytes),
    allocatedBytes: BigInt(allocated_bytes),
    fileIds: [least_id, greatest_id],
  };
}
