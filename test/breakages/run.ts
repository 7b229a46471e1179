/**
 * `npm run test:breakages [-- WORD...]`: breaks the code in each of the ways of list.ts, or those whose names have one of the words, one after the other
 * in a copy of the checkout, and runs the test that is to catch it. Before that each test must pass on the code as it is. Status 0: all are caught.
 */
import { packageRoot } from "../../src/db/embedded.js";
import { startCluster } from "../support/cluster.js";
import { type Breakage, misfits } from "./breakage.js";
import { breakages } from "./list.js";
import { type BrokenTree, copyTree } from "./tree.js";

/** The code was broken in another way than was meant: any test would have failed. */
const nonsense = /\b(SyntaxError|ReferenceError|TypeError)\b|syntax error at|(column|relation|function) .* does not exist/;

type Verdict = "caught" | "NOT CAUGHT" | "NO PROOF";

interface Outcome {
  verdict: Verdict;
  said: string;
}

async function main(words: string[], signal: AbortSignal): Promise<boolean> {
  const chosen = breakages.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
  if (chosen.length === 0) throw new Error(`No breakage has ${words.map((word) => JSON.stringify(word)).join(" or ")} in its name.`);
  const unfit = chosen.flatMap((breakage) => misfits(packageRoot, breakage));
  if (unfit.length > 0) throw new Error(unfit.join("\n"));
  // One for all runs of tests.
  const { cluster, stop } = await startCluster();
  try {
    const env = { FROSTLINE_TEST_POSTGRES: "url", FROSTLINE_TEST_POSTGRES_URL: cluster.superuserUrl };
    const tree = await copyTree(env, signal);
    const caught = await tryAll(tree, chosen, signal).finally(tree.remove);
    console.log(`${caught} of ${chosen.length} breakages are caught.`);
    return caught === chosen.length;
  } finally {
    await stop();
  }
}

/** Tells of each, and returns how many are caught. */
async function tryAll(tree: BrokenTree, chosen: Breakage[], signal: AbortSignal): Promise<number> {
  const asItIs = await tree.run(chosen.map(({ caughtBy }) => caughtBy));
  let caught = 0;
  for (const [no, breakage] of chosen.entries()) {
    signal.throwIfAborted();
    const startMs = performance.now();
    const before = asItIs[no] ?? [];
    const failed = before.find(({ passed }) => !passed);
    const { verdict, said }: Outcome =
      before.length === 0 || failed !== undefined
        ? { verdict: "NO PROOF", said: `On the code as it is: ${failed?.said ?? "no such test was run"}` }
        : await judge(tree, breakage);
    if (verdict === "caught") caught += 1;
    const { file, title } = breakage.caughtBy;
    const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
    console.log(`${verdict.padEnd(10)} ${seconds.padStart(4)} s  ${breakage.name}\n${margin}by ${file} "${title}"\n${indented(said)}`);
  }
  return caught;
}

async function judge(tree: BrokenTree, breakage: Breakage): Promise<Outcome> {
  const ran = await tree.with(breakage, () => tree.run([breakage.caughtBy])).catch((error: Error) => error);
  if (ran instanceof Error) return { verdict: "NO PROOF", said: ran.message };
  const [tests = []] = ran;
  if (tests.length === 0) return { verdict: "NO PROOF", said: "No such test was run: what is done before it fails." };
  const failed = tests.find(({ passed }) => !passed);
  if (failed === undefined) return { verdict: "NOT CAUGHT", said: `${tests.length} passed.` };
  return { verdict: nonsense.test(failed.said) ? "NO PROOF" : "caught", said: failed.said };
}

const margin = " ".repeat(19);

/** The first lines. */
function indented(text: string): string {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines
    .slice(0, 6)
    .map((line) => margin + line.slice(0, 200))
    .join("\n");
}

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => interrupted.abort(new Error("interrupted")));
main(process.argv.slice(2), interrupted.signal).then(
  (all) => {
    process.exitCode = all ? 0 : 1;
  },
  (error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  },
);
