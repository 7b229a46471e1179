/** A copy of the checkout, to be broken: the checkout itself stays as it is, and so does its build. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { packageRoot } from "../../src/db/embedded.js";
import { type Breakage, type NamedTest, titlePattern } from "./breakage.js";

/** Made anew, or of no use to a test. */
const leftOut = ["node_modules", "dist", ".git", ".frostline", "secrets"];
const buildMs = 120_000;
/** What then has not ended hangs. */
const testMs = 300_000;
const killAfterMs = 20_000;

/** What vitest's report has in place of a test's time limit. */
const timedOut = /^Error: STACK_TRACE_ERROR$/;

/** How a test ended. */
export interface Ran {
  title: string;
  passed: boolean;
  /** The first lines of what it failed with. */
  said: string;
}

export interface BrokenTree {
  /** Throws when the broken code does not compile. */
  with<T>(breakage: Breakage, work: () => Promise<T>): Promise<T>;
  /** Runs tests of those titles, and returns what was run of each; throws when the run came to no end. */
  run(tests: NamedTest[]): Promise<Ran[][]>;
  remove(): Promise<void>;
}

/** `env`: of the tests. Whatever runs ends when `signal` aborts. */
export async function copyTree(env: Record<string, string>, signal: AbortSignal): Promise<BrokenTree> {
  const root = await fs.mkdtemp(path.join(await fs.realpath(os.tmpdir()), "frostline-broken-"));
  const remove = () => fs.rm(root, { recursive: true, force: true });
  const start: Start = (args, limitMs) => program({ root, args, env, signal: AbortSignal.any([signal, AbortSignal.timeout(limitMs)]) });
  try {
    // As a checkout is: tests start programs out of it as other users.
    await fs.chmod(root, 0o755);
    await fs.cp(packageRoot, root, { recursive: true, filter: (from) => !leftOut.includes(path.relative(packageRoot, from)) });
    await fs.symlink(path.join(packageRoot, "node_modules"), path.join(root, "node_modules"));
    await build(start);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    async with(breakage, work) {
      const mend = await breakFiles(root, breakage);
      try {
        await build(start);
        return await work();
      } finally {
        await mend();
      }
    },
    run: (tests) => runTests(root, start, tests),
    remove,
  };
}

/** Returns what puts the files back; the next build is theirs. */
async function breakFiles(root: string, { changes }: Breakage): Promise<() => Promise<void>> {
  const whole = new Map<string, string>();
  for (const { file, find, replace } of changes) {
    const at = path.join(root, file);
    const text = await fs.readFile(at, "utf8");
    if (!whole.has(at)) whole.set(at, text);
    await fs.writeFile(
      at,
      text.replace(find, () => replace),
    );
  }
  return async () => {
    for (const [at, text] of whole) await fs.writeFile(at, text);
  };
}

type Start = (args: string[], limitMs: number) => Promise<{ status: number; output: string }>;

async function build(start: Start): Promise<void> {
  const { status, output } = await start(["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], buildMs);
  if (status !== 0) throw new Error(`the code does not compile:\n${output}`);
}

/** Of vitest. */
interface Report {
  testResults: {
    name: string;
    assertionResults: { fullName: string; status: string; failureMessages: string[] }[];
  }[];
}

async function runTests(root: string, start: Start, tests: NamedTest[]): Promise<Ran[][]> {
  const outputFile = path.join(root, "report.json");
  await fs.rm(outputFile, { force: true });
  const files = [...new Set(tests.map(({ file }) => file))];
  const titles = tests.map(({ title }) => titlePattern(title)).join("|");
  const args = ["node_modules/vitest/vitest.mjs", "run", ...files, "-t", titles, "--reporter=json", `--outputFile=${outputFile}`];
  const { output } = await start(args, testMs * Math.ceil(files.length / 2));
  const report = await fs.readFile(outputFile, "utf8").catch(() => {
    throw new Error(`${files.join(" ")} came to no end:\n${output.slice(-2000)}`);
  });
  const { testResults } = JSON.parse(report) as Report;
  return tests.map(({ file, title }) => {
    const wanted = new RegExp(titlePattern(title));
    return testResults
      .filter(({ name }) => path.relative(root, name) === file)
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ fullName, status }) => wanted.test(fullName) && (status === "passed" || status === "failed"))
      .map(({ fullName, status, failureMessages: [message = ""] }) => {
        return {
          title: fullName,
          passed: status === "passed",
          said: (message.split("\n    at ")[0] as string).replace(timedOut, "It came to no end in its time."),
        };
      });
  });
}

interface Program {
  root: string;
  args: string[];
  env: Record<string, string>;
  signal: AbortSignal;
}

/** Its status and all that it wrote. When `signal` aborts it ends, with all that it has started. */
async function program({ root, args, env, signal }: Program): Promise<{ status: number; output: string }> {
  const options = { cwd: root, env: { ...process.env, ...env }, detached: true } as const;
  const child = spawn(process.execPath, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output += data));
  const exited = once(child, "exit");
  const stop = () => void end(child, exited);
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const [status] = await exited;
  signal.removeEventListener("abort", stop);
  return { status: status ?? -1, output };
}

/** The whole group: servers that a test has started would stay. */
async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const group = -(child.pid as number);
  process.kill(group, "SIGTERM");
  const late = setTimeout(() => process.kill(group, "SIGKILL"), killAfterMs);
  await exited;
  clearTimeout(late);
}
