/** docs/reliability.md names tests: each must be there. */
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { hasTest, type NamedTest } from "./breakages/breakage.js";
import { breakages } from "./breakages/list.js";
import { markdownTables } from "./support/markdown.js";

const page = fs.readFileSync(path.join(packageRoot, "docs", "reliability.md"), "utf8");

/** Files in backquotes, each before the titles of its tests in double quotes. */
function namedTests(cell: string): NamedTest[] {
  const named: NamedTest[] = [];
  let file = "";
  for (const [, path, title] of cell.matchAll(/`([^`]+\.test\.ts)`|"([^"]+)"/g)) {
    if (path !== undefined) file = path;
    else named.push({ file, title: title as string });
  }
  return named;
}

function rowsOf(column: string): string[][] {
  return markdownTables(page).find(({ columns }) => columns[0] === column)?.rows ?? [];
}

test("every promise names tests, and they are there", () => {
  const promises = rowsOf("promise");
  expect(promises.length).toBeGreaterThan(10);
  for (const [promise, , cell] of promises as [string, string, string][]) {
    const files = [...cell.matchAll(/`([^`]+\.ts)`/g)].map((match) => match[1] as string);
    expect(files.length, promise).toBeGreaterThan(0);
    expect(files.filter((file) => !fs.existsSync(path.join(packageRoot, file)))).toEqual([]);
    expect(namedTests(cell).filter((named) => !hasTest(packageRoot, named))).toEqual([]);
  }
});

test("the table of breakages is the list", () => {
  const told = rowsOf("the broken code").map(([name, cell]) => ({ name, caughtBy: namedTests(cell as string) }));
  expect(told).toEqual(breakages.map(({ name, caughtBy }) => ({ name, caughtBy: [caughtBy] })));
});
