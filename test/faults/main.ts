/** `npm run test:faults`: rounds of faults for as long as is asked, and how many of each kind there were. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { parseArgs } from "node:util";
import { scratchDirectory } from "../support/scratch.js";
import type { RoundResult } from "./round.js";

const usage = `Usage: npm run test:faults -- [options]

  --minutes N   rounds of other seeds, one after the other, for so long; without it, one short round
  --seed N      of the first round; each further one has the next number. The same number is the same faults at the same times
  --json        the summary as JSON on stdout; the rest goes to stderr
  --log FILE    a line of JSON for each round, with every fault: when it struck, what, and for how long
`;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "0" },
    seed: { type: "string" },
    json: { type: "boolean", default: false },
    log: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<number> {
  const minutes = Number(values.minutes);
  if (values.help || !(minutes >= 0)) {
    process.stderr.write(usage);
    return values.help ? 0 : 2;
  }
  const scratch = await scratchDirectory();
  try {
    const log = path.resolve(values.log ?? path.join(scratch.path, "rounds.jsonl"));
    await fs.writeFile(log, "");
    const args = ["vitest", "run", "test/faults/faults.test.ts"];
    const env = {
      ...process.env,
      FROSTLINE_TEST_FAULT_MINUTES: String(minutes),
      FROSTLINE_TEST_FAULT_SUMMARY: log,
      ...(values.seed === undefined ? {} : { FROSTLINE_TEST_SEED: values.seed }),
    };
    // Its stdout would be among our JSON.
    const tests = spawn("npx", ["--no-install", ...args], { env, stdio: ["ignore", values.json ? 2 : 1, 2] });
    const [status] = (await once(tests, "close")) as [number | null];
    const rounds = (await fs.readFile(log, "utf8")).split("\n").filter((line) => line !== "");
    report(rounds.map((line) => JSON.parse(line) as RoundResult));
    return status ?? 1;
  } finally {
    await scratch.remove();
  }
}

function report(rounds: RoundResult[]): void {
  const total = (of: (round: RoundResult) => number) => rounds.reduce((sum, round) => sum + of(round), 0);
  const summary = {
    rounds: rounds.length,
    seeds: rounds.map(({ seed }) => seed),
    faults: totals(rounds.map(({ faults }) => faults)),
    missed: totals(rounds.map(({ missed }) => missed)),
    scans: total(({ scans }) => scans),
    events: total(({ events }) => events),
    tieredFiles: total(({ tieredFiles }) => tieredFiles),
    longestCalmAfterMs: Math.max(0, ...rounds.flatMap(({ calmAfterMs }) => Object.values(calmAfterMs))),
    failures: totals(rounds.map(({ failures }) => failures)),
    findings: rounds.flatMap(({ seed, findings }) => findings.map((finding) => ({ seed, finding }))),
  };
  process.stdout.write(`${JSON.stringify(summary, undefined, values.json ? undefined : 2)}\n`);
}

function totals(all: Record<string, number>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const counts of all) for (const [name, number] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + number;
  return sums;
}

process.exitCode = await main();
