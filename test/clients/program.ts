/** A client that is a program: its commands, and what they print. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Scope } from "../support/tenant.js";
import { cursorAnswer, planAnswer, previewAnswer } from "./in-json.js";
import type { ForeignClient, Scenario, Told } from "./scenario.js";

export interface ProgramClient extends ForeignClient {
  /** Makes the program, with what it needs in the directory, and says how it is run. */
  build(scratch: string): Command;
}

export interface Command {
  file: string;
  args: string[];
  env: Record<string, string>;
}

/** Takes the scenario's road with a program that has the commands of examples/python and examples/go. */
export async function runProgram(scenario: Scenario, command: Command): Promise<Told> {
  const { shareName, root, trail, logPath, rule } = scenario;
  const share = ["--share", shareName];
  const run = (scope: Scope, args: string[]) => runCommand(scenario, scope, { ...command, args: [...command.args, ...args] });
  await run("agent", ["scan", ...share, root]);
  await run("agent", ["audit", ...share, trail]);
  const [cursor] = await run("agent", ["cursor", ...share, logPath]);
  const listed = await run("reader", ["cursors", ...share]);
  if (JSON.stringify(listed) !== JSON.stringify([cursor])) throw new Error(`cursors printed ${JSON.stringify(listed)}`);
  await run("operator", ["rule", ...share, "--name", rule.name, "--expression", rule.expression, "--target", rule.targetUri]);
  const [preview] = await run("reader", ["preview", ...share]);
  const [plan] = await run("operator", ["plan", ...share]);
  return {
    cursorPosition: cursorAnswer.parse(cursor).position,
    previewPlanned: previewAnswer.parse(preview).funnel.planned.files,
    planned: planAnswer.parse(plan).plan.funnel.planned.files,
  };
}

/** What it prints, an object a line. Rejects with what it said unless it ends with 0. */
async function runCommand({ server, scratch }: Scenario, scope: Scope, command: Command): Promise<unknown[]> {
  const { status, stdout, stderr } = await startProgram(command, { server: server.address, key: server.keys[scope], scratch }).result;
  if (status !== 0) throw new Error(`${command.file} ${command.args.join(" ")} ended with ${status}:\n${stderr}${stdout}`);
  return stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

export interface RunningProgram {
  child: ChildProcess;
  /** `status` is null when a signal ended it. */
  result: Promise<{ status: number | null; stdout: string; stderr: string }>;
}

/** `scratch` is where it runs. */
export function startProgram(command: Command, at: { server: string; key: string; scratch: string }): RunningProgram {
  const { PATH = "" } = process.env;
  const env = { PATH, HOME: at.scratch, FROSTLINE_SERVER: at.server, FROSTLINE_KEY: at.key, ...command.env };
  const child = spawn(command.file, command.args, { env, cwd: at.scratch, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const result = once(child, "close").then(([status]) => ({ status: status as number | null, stdout, stderr }));
  return { child, result };
}
