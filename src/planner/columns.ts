/** What a rule's variables are in SQL: of `file_current c`, its `dir d` and the outer joined `tier_object t`. */
import type { Columns } from "./cel/index.js";
import type { StatementParams } from "./statement.js";

export function pathSql(file: string, dir: string): string {
  return `(CASE ${dir}.dir_path WHEN '/' THEN '' ELSE ${dir}.dir_path END || '/' || ${file}.name)`;
}

export function lastUsedSql(file: string): string {
  return `GREATEST(coalesce(${file}.atime_unix, 0), coalesce(${file}.mtime_unix, 0))`;
}

/** Nothing is ever null: what is absent is '' or 0. `tierState` is SQL. */
export function fileColumns(shareName: string, params: StatementParams, tierState = "coalesce(t.state, '')"): Columns {
  return {
    // Only when a rule asks for it: PostgreSQL refuses a parameter that its statement does not use.
    get share() {
      return `${params.add(shareName)}::text`;
    },
    path: pathSql("c", "d"),
    dir: "d.dir_path",
    name: "c.name",
    extension: "c.file_extension",
    owner: "coalesce(c.owner, '')",
    size: "coalesce(c.size_bytes, 0)",
    atime: "coalesce(c.atime_unix, 0)",
    mtime: "coalesce(c.mtime_unix, 0)",
    ctime: "coalesce(c.ctime_unix, 0)",
    last_used: lastUsedSql("c"),
    tier_state: tierState,
  };
}
