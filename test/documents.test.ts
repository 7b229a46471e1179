/** What the documents name must be there. */
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { createProgram } from "../src/cli/program.js";
import { packageRoot } from "../src/db/embedded.js";
import { anchors, markdownTables } from "./support/markdown.js";

const adr = fs.readdirSync(path.join(packageRoot, "docs", "adr")).map((file) => `docs/adr/${file}`);
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "docs/architecture.md",
  "docs/schema.md",
  "docs/audit.md",
  "docs/warming.md",
  "docs/tiering.md",
  "docs/operations.md",
  "docs/backup.md",
  "docs/postgresql.md",
  "docs/settings.md",
  "docs/reasons.md",
  "docs/troubleshooting.md",
  "docs/retention.md",
  "docs/webhooks.md",
  "docs/secrets.md",
  "docs/clients.md",
  "docs/performance.md",
  "docs/reliability.md",
  "bench/README.md",
  "examples/mover/README.md",
  "examples/python/README.md",
  "examples/go/README.md",
  ...adr,
];

function read(page: string): string {
  return fs.readFileSync(path.join(packageRoot, page), "utf8");
}

test.each(pages)("links of %s lead somewhere", (page) => {
  const targets = [...read(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1] as string);
  const dead = targets.filter((target) => !fs.existsSync(path.join(packageRoot, path.dirname(page), target)));
  expect(dead).toEqual([]);
});

test.each(pages)("links of %s to sections lead to a heading", (page) => {
  const targets = [...read(page).matchAll(/\]\((?!https?:)([^)#]*\.md|)#([^)]+)\)/g)].map(
    (match) => [match[1], match[2]] as [string, string],
  );
  const dead = targets.filter(([target, anchor]) => {
    const file = target === "" ? page : path.join(path.dirname(page), target);
    return !anchors(read(file)).has(anchor);
  });
  expect(dead).toEqual([]);
});

test("decisions are numbered without a gap, have the same parts, and are all in the index", () => {
  const files = adr.filter((file) => /\/\d{4}-/.test(file)).sort();
  expect(files.map((file) => Number(path.basename(file).slice(0, 4)))).toEqual(files.map((_, i) => i + 1));
  for (const file of files) {
    expect(read(file), file).toMatch(/^# \d{4}\. .+\n\n## Context\n[\s\S]+\n## Decision\n[\s\S]+\n## Consequences\n/);
    expect(read("docs/adr/README.md")).toContain(`(${path.basename(file)})`);
  }
});

test("paths that the architecture page sends to exist", () => {
  const cells = markdownTables(read("docs/architecture.md")).flatMap((table) => table.rows.flat());
  const named = cells.flatMap((cell) =>
    [...cell.matchAll(/`((?:src|migrations|proto|docs|test)\/[^`]*)`/g)].map((match) => match[1] as string),
  );
  expect(named.length).toBeGreaterThan(10);
  expect(named.filter((file) => !fs.existsSync(path.join(packageRoot, file)))).toEqual([]);
});

test("the architecture page has every directory of src", () => {
  const table = markdownTables(read("docs/architecture.md")).find(({ columns }) => columns[0] === "directory");
  const told =
    table?.rows.flatMap(([cell]) => [...(cell as string).matchAll(/`src\/([a-z]+)\/`/g)].map((match) => match[1] as string)) ?? [];
  const there = fs.readdirSync(path.join(packageRoot, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(told.sort()).toEqual(there.map(({ name }) => name).sort());
});

test("the README's tour has every command, and no other", () => {
  const tour = markdownTables(read("README.md")).find((table) => table.columns[0] === "command");
  const named = tour?.rows.flatMap(([cell]) => [...(cell as string).matchAll(/`([a-z]+)[^`]*`/g)].map((match) => match[1] as string)) ?? [];
  const known = createProgram().commands.map((command) => command.name());
  expect([...named, "demo"].sort()).toEqual(known.sort());
});

test("the README opens with the two commands", () => {
  const commands = read("README.md").match(/^npm ci && npm (run demo|test)\b/gm);
  expect(commands).toEqual(["npm ci && npm run demo", "npm ci && npm test"]);
});
