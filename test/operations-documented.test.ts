/** docs/operations.md, held against the program. */
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { loadConfig, settingNames } from "../src/config.js";
import { packageRoot } from "../src/db/embedded.js";
import { issue } from "./support/certificates.js";
import { markdownTables } from "./support/markdown.js";
import { scratchDirectory } from "./support/scratch.js";
import { startTestServer } from "./support/server.js";

const page = fs.readFileSync(path.join(packageRoot, "docs", "operations.md"), "utf8");

function rows(firstColumn: string): string[][] {
  const table = markdownTables(page).find(({ columns }) => columns[0] === firstColumn);
  if (table === undefined) throw new Error(`no table with the column ${firstColumn}`);
  return table.rows;
}

const plain = (cell: string | undefined) => (cell ?? "").replaceAll("`", "").trim();

test("every setting is in the table, and no other", () => {
  expect(
    rows("variable")
      .map(([name]) => plain(name))
      .sort(),
  ).toEqual([...settingNames].sort());
});

test("the defaults are those that are told", () => {
  const told = rows("variable").filter(([name, fallback]) => plain(name) !== "DATABASE_URL" && plain(fallback) !== "");
  expect(told.length).toBeGreaterThan(10);
  expect(loadConfig(Object.fromEntries(told.map(([name, fallback]) => [plain(name), plain(fallback)])))).toEqual(loadConfig({}));
});

test("every metric of Frostline's own is in the table with its labels, and no other", async () => {
  const scratch = await scratchDirectory();
  const own = issue("server");
  const write = (name: string, pem: string) => {
    fs.writeFileSync(path.join(scratch.path, name), pem);
    return path.join(scratch.path, name);
  };
  const server = await startTestServer({
    env: {
      FROSTLINE_HTTP_LISTEN: "127.0.0.1:0",
      FROSTLINE_TLS_CERT: write("server.crt", own.cert),
      FROSTLINE_TLS_KEY: write("server.key", own.key),
    },
  });
  const known = server.metrics.registry.getMetricsAsArray().filter(({ name }) => name.startsWith("frostline_"));
  const labels = known.map((metric) => `${metric.name}: ${(metric as unknown as { labelNames: string[] }).labelNames.join(", ")}`);
  expect(
    rows("metric")
      .map(([name, label]) => `${plain(name)}: ${plain(label)}`)
      .sort(),
  ).toEqual(labels.sort());
  await server.close();
  await scratch.remove();
});
