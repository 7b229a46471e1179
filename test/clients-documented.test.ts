/** docs/clients.md names the services and calls that there are. */
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { services } from "../src/rpc/routes.js";
import { markdownTables } from "./support/markdown.js";

const page = fs.readFileSync(path.join(packageRoot, "docs", "clients.md"), "utf8");
const own = services.filter(({ typeName }) => typeName.startsWith("frostline.v1."));

function table(column: string): string[][] {
  return markdownTables(page).find(({ columns }) => columns[0] === column)?.rows ?? [];
}

test("every service, with its proto file", () => {
  const told = table("service").map(([service, proto]) => `${service} ${proto}`);
  const there = own.map(({ name, file }) => `\`${name}\` \`${path.basename(file.proto.name)}\``);
  expect(told.sort()).toEqual(there.sort());
});

test("calls that are said to be safe to repeat exist", () => {
  const methods = new Set(own.flatMap((service) => service.methods.map(({ name }) => name)));
  const named = table("call").flatMap(([cell]) => [...(cell as string).matchAll(/`([A-Za-z]+)`/g)].map((match) => match[1] as string));
  expect(named.length).toBeGreaterThan(15);
  expect(named.filter((name) => !methods.has(name))).toEqual([]);
});
