/** How the built program is run: as its first line says. */
import * as fs from "node:fs";
import { fileURLToPath } from "node:url";

/** Executable, as a shell runs it. */
export const program = fileURLToPath(new URL("../../bin/frostline.js", import.meta.url));

/** Node's arguments up to the program's own, `nodeArgs` among them: for who needs more of node than the first line gives. */
export function nodeArguments(...nodeArgs: string[]): string[] {
  return [...nodeFlags(), ...nodeArgs, program];
}

/** Those that the first line gives. */
export function nodeFlags(): string[] {
  const [firstLine = ""] = fs.readFileSync(program, "utf8").split("\n", 1);
  const flags = /^#!\/usr\/bin\/env -S node (.+)$/.exec(firstLine)?.[1];
  if (flags === undefined) throw new Error(`the first line of ${program} does not name node and its flags: ${firstLine}`);
  return flags.split(" ");
}
