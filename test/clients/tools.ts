/** Programs of the machine that a client is made with. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { packageRoot } from "../../src/db/embedded.js";

/** Debian's own Python, which has Debian's modules; another one on the PATH has not. */
export const python3 = fs.existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
export const buf = path.join(packageRoot, "node_modules", ".bin", "buf");

export function onPath(program: string): boolean {
  return (process.env.PATH ?? "").split(path.delimiter).some((directory) => fs.existsSync(path.join(directory, program)));
}

/** Runs it to its end; throws with what it said when that is not status 0. */
export function build(file: string, args: string[], options: { cwd?: string; env?: Record<string, string> } = {}): void {
  const { PATH = "", HOME = "" } = process.env;
  const env = { PATH, HOME, ...options.env };
  const { status, stdout, stderr, error } = spawnSync(file, args, { env, cwd: options.cwd ?? packageRoot, encoding: "utf8" });
  if (status !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${status}:\n${error?.message ?? ""}${stdout}${stderr}`);
}
