/** docs/reasons.md has every reason that a caller can be told, and no other; docs/troubleshooting.md every invariant. */
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { invariants } from "../src/verify/invariants.js";
import { markdownTables } from "./support/markdown.js";

/** Files in which callers are refused: those of the server. */
const sources = fs
  .readdirSync(path.join(packageRoot, "src"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !/^(gen|cli|agent)\//.test(file))
  .map((file) => fs.readFileSync(path.join(packageRoot, "src", file), "utf8"));

/** `reason: "X"`, one of two, or what is given to the functions that make such errors. */
const reason =
  /\breason: [^;{}\n]*?"([A-Z_]+)"(?: : "([A-Z_]+)")?|\brefusedToken\(\s*"([A-Z_]+)"|(?<!function )\b(?:unauthenticated|notComparable)\([^;]*?"([A-Z_]{4,})"|\brefuseIf\([^;]*?\n\s*"([A-Z_]+)",/g;

function cells(page: string, column: string): string[] {
  const tables = markdownTables(fs.readFileSync(path.join(packageRoot, "docs", page), "utf8"));
  const rows = tables.filter(({ columns }) => columns[0] === column).flatMap((table) => table.rows);
  return rows.flatMap(([cell]) => [...(cell as string).matchAll(/`([^`]+)`/g)].map((match) => match[1] as string));
}

test("every reason, once", () => {
  const told = sources.flatMap((source) =>
    [...source.matchAll(reason)].flatMap((match) => match.slice(1).filter((name) => name !== undefined)),
  );
  const known = [...new Set(told)];
  expect(known.length).toBeGreaterThan(90);
  expect(cells("reasons.md", "reason").sort()).toEqual(known.sort());
});

test("every invariant, once", () => {
  expect(cells("troubleshooting.md", "invariant").sort()).toEqual(invariants.map(({ name }) => name).sort());
});
