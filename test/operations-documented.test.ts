/** docs/settings.md, docs/operations.md and the alerts, held against the program. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Registry } from "prom-client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";
import { settingsPage } from "../scripts/settings-page.js";
import { describedSettings, loadConfig } from "../src/config.js";
import { packageRoot } from "../src/db/embedded.js";
import { issue } from "./support/certificates.js";
import { anchors, markdownTables } from "./support/markdown.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type LocalServer, startTestServer } from "./support/server.js";

const page = fs.readFileSync(path.join(packageRoot, "docs", "operations.md"), "utf8");

function rows(firstColumn: string): string[][] {
  const table = markdownTables(page).find(({ columns }) => columns[0] === firstColumn);
  if (table === undefined) throw new Error(`no table with the column ${firstColumn}`);
  return table.rows;
}

const plain = (cell: string | undefined) => (cell ?? "").replaceAll("`", "").trim();

test("the page of the settings is what the schema gives", () => {
  const written = fs.readFileSync(path.join(packageRoot, "docs", "settings.md"), "utf8");
  expect(written, "run `npm run gen:docs`").toBe(settingsPage());
});

test("the defaults are those that count", () => {
  const told = describedSettings.filter(({ fallback }) => fallback !== undefined);
  expect(told.length).toBeGreaterThan(20);
  expect(loadConfig(Object.fromEntries(told.map(({ name, fallback }) => [name, fallback])))).toEqual(loadConfig({}));
});

/** With all that it can have, so that it has every metric. */
let server: LocalServer;
let scratch: Scratch;
beforeAll(async () => {
  scratch = await scratchDirectory();
  const own = issue("server");
  const write = (name: string, pem: string) => {
    fs.writeFileSync(path.join(scratch.path, name), pem);
    return path.join(scratch.path, name);
  };
  server = await startTestServer({
    env: {
      FROSTLINE_HTTP_LISTEN: "127.0.0.1:0",
      FROSTLINE_TLS_CERT: write("server.crt", own.cert),
      FROSTLINE_TLS_KEY: write("server.key", own.key),
    },
  });
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

/** Labels by metric. */
function metrics(registry: Registry): Map<string, string[]> {
  const all = registry.getMetricsAsArray() as unknown as { name: string; labelNames: string[] }[];
  return new Map(all.map(({ name, labelNames }) => [name, labelNames]));
}

test("every metric of Frostline's own is in the table with its labels, and no other", () => {
  const known = [...metrics(server.metrics.registry)].filter(([name]) => name.startsWith("frostline_"));
  expect(
    rows("metric")
      .map(([name, label]) => `${plain(name)}: ${plain(label)}`)
      .sort(),
  ).toEqual(known.map(([name, labels]) => `${name}: ${labels.join(", ")}`).sort());
});

interface Alert {
  alert: string;
  expr: string;
  annotations: { summary: string; runbook: string };
}

const file = parse(fs.readFileSync(path.join(packageRoot, "examples/prometheus/alerts.yml"), "utf8")) as { groups: { rules: Alert[] }[] };
const alerts = file.groups.flatMap(({ rules }) => rules);

/** What Prometheus knows by itself of whom it scrapes. */
const ofScraping = ["instance", "job"];

test.each(alerts)("alert $alert: metrics and labels that there are", ({ expr, annotations }) => {
  const known = metrics(server.metrics.registry).set("up", ofScraping);
  const named = [...expr.matchAll(/\b(?:up|(?:frostline|nodejs|process)_\w+)/g)].map(([name]) => name.replace(/_(count|sum|bucket)$/, ""));
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
  const labels = new Set([...ofScraping, ...named.flatMap((name) => known.get(name) ?? [])]);
  const grouped = /\bby \(([^)]*)\)/.exec(expr)?.[1]?.split(", ");
  const selected = [...expr.matchAll(/(\w+)=~?"/g)].map((match) => match[1] as string);
  const shown = [...annotations.summary.matchAll(/\$labels\.(\w+)/g)].map((match) => match[1] as string);
  expect([...(grouped ?? []), ...selected, ...shown].filter((label) => !labels.has(label))).toEqual([]);
  // An aggregate keeps only what it is grouped by.
  if (/^(max|sum)\b/.test(expr)) expect(shown.filter((label) => !grouped?.includes(label))).toEqual([]);
});

test.each(alerts)("alert $alert: a section that tells what to do", ({ annotations }) => {
  const [page = "", anchor] = annotations.runbook.split("#");
  expect(anchors(fs.readFileSync(path.join(packageRoot, page), "utf8"))).toContain(anchor);
});
