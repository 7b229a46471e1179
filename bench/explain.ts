/** The plans that PostgreSQL made while operations ran, by auto_explain, reduced to a file for each statement that counts. */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as fsp from "node:fs/promises";
import * as path from "node:path";
import { createInterface } from "node:readline";

/** Statements with less of all statements' time than this are left out. */
const shareAtLeast = 0.01;

/** The server's connections: the bench's own statements are none of its. */
const applications = ["frostline", "frostline-ingest", "frostline-audit", "frostline-authentication"];

interface Statement {
  text: string;
  calls: number;
  totalMs: number;
  /** The slowest of all. */
  slowest: { ms: number; plan: string };
}

/** Writes the plans of a log (see startExplaining) into `dir`, over those of an earlier run. Returns how many. Throws when it has none. */
export async function writePlans(logFile: string, dir: string): Promise<number> {
  const statements = await readStatements(logFile);
  const all = statements.reduce((sum, { totalMs }) => sum + totalMs, 0);
  const hot = statements.filter(({ totalMs }) => totalMs >= all * shareAtLeast).sort((a, b) => b.totalMs - a.totalMs);
  if (hot.length === 0) throw new Error(`${logFile} has no plans: is auto_explain there?`);
  await fsp.mkdir(dir, { recursive: true });
  for (const old of await fsp.readdir(dir)) if (old.endsWith(".txt")) await fsp.rm(path.join(dir, old));
  for (const statement of hot) await fsp.writeFile(path.join(dir, `${fileName(statement.text)}.txt`), describe(statement, all));
  return hot.length;
}

async function readStatements(log: string): Promise<Statement[]> {
  const byText = new Map<string, Statement>();
  for await (const line of createInterface({ input: fs.createReadStream(log) })) {
    const entry = JSON.parse(line) as { application_name?: string; message?: string };
    if (!applications.includes(entry.application_name ?? "")) continue;
    const parsed = parse(entry.message ?? "");
    if (parsed === undefined) continue;
    const { text, ms, plan } = parsed;
    const known = byText.get(text) ?? { text, calls: 0, totalMs: 0, slowest: { ms: -1, plan } };
    byText.set(text, known);
    known.calls += 1;
    known.totalMs += ms;
    if (ms > known.slowest.ms) known.slowest = { ms, plan };
  }
  return [...byText.values()];
}

/** `duration: 1.2 ms  plan:`, the statement's text, and the plan from the first line that has a cost. Undefined for other messages. */
function parse(message: string): { text: string; ms: number; plan: string } | undefined {
  const head = /^duration: ([\d.]+) ms {2}plan:\nQuery Text: /.exec(message);
  if (head === null) return undefined;
  const lines = message.slice(head[0].length).split("\n");
  const first = lines.findIndex((line) => /\(cost=[\d.]+\.\.[\d.]+ rows=\d+ width=\d+\)/.test(line));
  if (first === -1) return undefined;
  return { text: lines.slice(0, first).join("\n").trim(), ms: Number(head[1]), plan: lines.slice(first).join("\n") };
}

/** What it does to which table (EXTRACT's and DISTINCT's FROM name none), or which function it calls, and some digits of its text: the same from run to run. */
function fileName(text: string): string {
  const [, verb, table] = /\b(INSERT INTO|UPDATE|DELETE FROM|(?<!DISTINCT )FROM)\s+(\w+)\b(?!\.)/i.exec(text) ?? [];
  const called = /^SELECT (\w+)\(/.exec(text)?.[1] ?? "statement";
  const words = verb === undefined ? called : `${verb.toUpperCase() === "FROM" ? "select" : verb.split(" ")[0]}-${table}`;
  return `${words.toLowerCase()}-${createHash("sha256").update(text).digest("hex").slice(0, 8)}`;
}

function describe({ text, calls, totalMs, slowest }: Statement, all: number): string {
  const share = ((100 * totalMs) / all).toFixed(1);
  const head = `${calls} calls, ${totalMs.toFixed(0)} ms in all, ${share} % of all statements' time (a statement's with that of those within it). The slowest, ${slowest.ms.toFixed(1)} ms:`;
  return `${head}\n\n${text}\n\n${slowest.plan.trimEnd()}\n`;
}
