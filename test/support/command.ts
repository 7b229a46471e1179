/** The built command line, run as a user runs it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { program } from "./program.js";
import { assertNoSecrets } from "./watched-output.js";

/** Loads everything, which may lie below root's private home, before it becomes `nobody`. */
const asNobody = `
  const { createProgram } = await import(${JSON.stringify(new URL("../../dist/cli/program.js", import.meta.url).href)});
  const program = createProgram();
  process.setgroups([]);
  process.setgid(65534);
  process.setuid(65534);
  await program.parseAsync(process.argv.slice(1), { from: "user" });`;

export interface CommandResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface CommandOptions {
  /** On top of PATH and HOME. */
  env?: Record<string, string>;
  cwd?: string;
  /** When the tests run as root, whom no file mode stops, run the command as `nobody`. */
  unprivileged?: boolean;
  /** Called once the process runs. */
  started?: (child: ChildProcess) => void;
}

/** Runs `frostline` with the arguments to its end. Throws when its stderr tells a secret: what a command made for its caller is on stdout. */
export async function frostline(args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { PATH = "", HOME = "" } = process.env;
  const drop = options.unprivileged === true && process.getuid?.() === 0;
  const child = spawn(drop ? process.execPath : program, [...(drop ? ["--input-type=module", "--eval", asNobody, "--"] : []), ...args], {
    env: { PATH, HOME, ...options.env },
    cwd: options.cwd ?? path.dirname(path.dirname(program)),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  options.started?.(child);
  const [status] = (await once(child, "close")) as [number | null];
  assertNoSecrets(`the stderr of ${args[0]}`, stderr);
  return { status, stdout, stderr };
}

/** Objects of a stdout that must be JSON lines and nothing else. */
export function jsonLines<T>(stdout: string): T[] {
  if (stdout === "") return [];
  if (!stdout.endsWith("\n")) throw new Error(`The last line is not ended: ${JSON.stringify(stdout.slice(-200))}`);
  return stdout
    .slice(0, -1)
    .split("\n")
    .map((line) => JSON.parse(line) as T);
}
