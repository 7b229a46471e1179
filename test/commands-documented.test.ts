/** Commands that the pages tell exist, with their options. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Command } from "commander";
import { expect, test } from "vitest";
import { createProgram } from "../src/cli/program.js";
import { packageRoot } from "../src/db/embedded.js";

const pages = ["README.md", "examples/mover/README.md", ...fs.readdirSync(path.join(packageRoot, "docs")).map((file) => `docs/${file}`)];

/** What stands behind `frostline`, in code: up to the end of the span, the line, a comment, or what the shell does next. */
function commandLines(page: string): string[] {
  const text = fs.readFileSync(path.join(packageRoot, page), "utf8").replaceAll("\\\n", " ");
  const blocks = [...text.matchAll(/^ *```(?:sh)?\n([\s\S]*?)^ *```/gm)].flatMap((match) => (match[1] as string).split("\n"));
  const spans = [...text.replace(/^ *```[\s\S]*?^ *```/gm, "").matchAll(/`([^`\n]+)`/g)].map((match) => match[1] as string);
  return [...blocks, ...spans].flatMap((code) => {
    const [, line] = /^\s*(?:[A-Z_]+=\S+ )*(?:npx |docker compose run --rm |docker run --rm )?frostline ([a-z-][^#|&>)]*)/.exec(code) ?? [];
    return line === undefined || noCommands.has(line.trim()) ? [] : [line.trim()];
  });
}

/** Not commands, though they look like them: what secrets are authenticated with. */
const noCommands = new Set(["data key", "secret"]);

/** What of the line there is not. */
function unknown(line: string): string[] {
  let command: Command = createProgram();
  const words = line.split(/\s+/);
  while (command.commands.length > 0 && words[0] !== undefined && !words[0].startsWith("-")) {
    const next = command.commands.find((one) => one.name() === words[0] || one.aliases().includes(words[0] as string));
    if (next === undefined) return [words[0]];
    command = next;
    words.shift();
  }
  const known = new Set(["--help", "-h", "--version"]);
  // A group may have a command that is meant when none is named.
  for (const { options } of command.commands) for (const { long } of options) if (long) known.add(long);
  for (let at: Command | null = command; at !== null; at = at.parent) {
    for (const { long, short } of at.options) for (const flag of [long, short]) if (flag) known.add(flag);
  }
  return words
    .map((word) => word.replace(/[\],]+$/, "").replace(/^\[/, ""))
    .filter((word) => /^--?[a-z]/.test(word) && !known.has(word.split("=")[0] as string));
}

test("a page's commands are found, and one that does not exist is noticed", () => {
  expect(commandLines("README.md").length).toBeGreaterThan(5);
  expect(unknown("tier list --share films --state STUBBED")).toEqual([]);
  expect(unknown("tier lost --share films")).toEqual(["lost"]);
  expect(unknown("tier list --shares films")).toEqual(["--shares"]);
});

test.each(pages.filter((page) => page.endsWith(".md") && commandLines(page).length > 0))("%s", (page) => {
  const wrong = commandLines(page).flatMap((line) => unknown(line).map((word) => `${line}: ${word}`));
  expect(wrong).toEqual([]);
});
