/** Directories for one test. */
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";

export interface Scratch {
  path: string;
  remove(): Promise<void>;
}

/** An empty directory of its own; its path has no symbolic links in it. */
export async function scratchDirectory(): Promise<Scratch> {
  const made = await fs.mkdtemp(path.join(await fs.realpath(os.tmpdir()), "frostline-test-"));
  return { path: made, remove: () => fs.rm(made, { recursive: true, force: true }) };
}
