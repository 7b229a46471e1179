/** docs/rules.md, "Expressions": what it shows is taken, what it calls refused is refused, and it has every variable and limit. */
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { checkExpression, ExpressionError } from "../src/planner/cel/index.js";
import {
  depthAtMost,
  fileVariableTypes,
  globLengthAtMost,
  globWildcardsAtMost,
  nestingAtMost,
  sourceLengthAtMost,
  units,
} from "../src/planner/cel/language.js";
import { markdownTables } from "./support/markdown.js";

const page = fs.readFileSync(path.join(packageRoot, "docs", "rules.md"), "utf8");
const section = page.slice(page.indexOf("## Expressions\n")).split(/\n## (?!Expressions)/)[0] as string;
const tables = markdownTables(section);
const codes = (cell: string | undefined) => [...(cell ?? "").matchAll(/`([^`]+)`/g)].map((match) => match[1] as string);

test("every example is taken", () => {
  const blocks = [...section.matchAll(/```cel\n([^`]+)```/g)].map((match) => match[1] as string);
  // An example begins at the margin; lines that are set in continue it.
  const examples = blocks.flatMap((block) => block.split(/\n(?! )/)).filter((text) => text.trim() !== "");
  const written = tables.find((table) => table.columns[0] === "refused")?.rows.flatMap((row) => codes(row[1])) ?? [];
  const inText = codes(section.replace(/```.*?```/gs, "").replace(/^\|.*$/gm, "")).filter((code) =>
    /^(?:glob\(path|now -|last_used \+)/.test(code),
  );
  expect(examples.length).toBeGreaterThan(3);
  expect(written.length).toBeGreaterThan(8);
  expect(inText.length).toBeGreaterThan(3);
  for (const source of [...examples, ...written, ...inText]) expect(() => checkExpression(source), source).not.toThrow();
});

test("what it calls refused is refused", () => {
  const refused = tables.find((table) => table.columns[0] === "refused")?.rows.flatMap((row) => codes(row[0])) ?? [];
  expect(refused.length).toBeGreaterThan(10);
  for (const source of refused) expect(() => checkExpression(source), source).toThrow(ExpressionError);
});

test("it has every variable with its type, every unit and every limit", () => {
  const words = { text: "string", number: "int", time: "time" } as const;
  const rows = tables.find((table) => table.columns[0] === "variable")?.rows ?? [];
  const documented = rows.flatMap(([names, type]) => codes(names).map((name) => [name, words[type as keyof typeof words]]));
  expect(Object.fromEntries(documented)).toEqual({ ...fileVariableTypes, now: "time" });
  for (const unit of Object.keys(units)) expect(section).toContain(`\`${unit}\``);
  for (const limit of [sourceLengthAtMost.toLocaleString("en"), nestingAtMost, depthAtMost, globLengthAtMost, globWildcardsAtMost])
    expect(section).toMatch(new RegExp(`\\b${limit}\\b`));
});
