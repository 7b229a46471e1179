/**
 * PostgreSQL, two servers and agents of two tenants, all of them processes, while everything between and below them fails: afterwards
 * nothing is lost, nothing is there twice, and nothing is left behind. `npm run test:faults -- --minutes 60` plays for longer;
 * FROSTLINE_TEST_SEED plays the round of that seed again.
 */
import * as fs from "node:fs";
import { expect, test } from "vitest";
import { seededRandom } from "../support/random.js";
import { playRound, type RoundLength, type RoundResult } from "./round.js";

const minutes = Number(process.env.FROSTLINE_TEST_FAULT_MINUTES ?? 0);
const summaryFile = process.env.FROSTLINE_TEST_FAULT_SUMMARY;
const shortRound: RoundLength = { durationMs: 9500, meanGapMs: 500 };
/** Between two faults there is time to get ahead. */
const longRound: RoundLength = { durationMs: 75_000, meanGapMs: 1300 };
/** A round's set-up, its end, and all patience. */
const besideRoundMs = 300_000;

test.skipIf(process.platform !== "linux")(
  "nothing is lost, doubled or left behind, whatever is killed, paused, cut or full",
  { timeout: minutes * 60_000 + longRound.durationMs + besideRoundMs },
  async () => {
    const { seed } = seededRandom();
    const endMs = performance.now() + minutes * 60_000;
    const rounds: RoundResult[] = [];
    do {
      const round = await playRound(seed + rounds.length, minutes > 0 ? longRound : shortRound);
      rounds.push(round);
      const { log, ...summary } = round;
      if (summaryFile !== undefined) fs.appendFileSync(summaryFile, `${JSON.stringify(round)}\n`);
      if (minutes > 0) console.log(JSON.stringify(summary));
      if (round.findings.length > 0)
        console.error(`FROSTLINE_TEST_SEED=${round.seed}\n${log.map((each) => JSON.stringify(each)).join("\n")}`);
    } while (performance.now() < endMs);
    expect(rounds.flatMap(({ seed, findings }) => findings.map((finding) => `seed ${seed}: ${finding}`))).toEqual([]);
    for (const { scans, faults } of rounds) {
      expect(scans).toBeGreaterThan(0);
      expect(Object.keys(faults).length).toBeGreaterThan(5);
    }
  },
);
