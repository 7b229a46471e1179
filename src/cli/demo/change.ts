/** The small folder the demo makes and changes in the directory it scans, so that the second scan has something to find. */
import { rmSync } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";

export interface DemoFolder {
  /** Its name, directly below the scanned directory. */
  name: string;
  /** Edits one file, adds one, deletes one, renames one. */
  change(): Promise<void>;
  /** Removes the folder; may be called again. Not async, so that it can be the last thing a process does. */
  remove(): void;
}

/** Undefined when `dir` is not writable. */
export async function makeDemoFolder(dir: string): Promise<DemoFolder | undefined> {
  const name = `frostline-demo-${process.pid}`;
  const folder = path.join(dir, name);
  try {
    await fs.mkdir(folder);
  } catch (error) {
    if (["EACCES", "EPERM", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
  const at = (file: string) => path.join(folder, file);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    for (const file of ["edited.txt", "deleted.txt", "old-name.txt", "untouched.txt"]) await fs.writeFile(at(file), `This is ${file}.\n`);
  } catch (error) {
    remove();
    throw error;
  }
  return {
    name,
    async change() {
      await fs.appendFile(at("edited.txt"), "One line more.\n");
      await fs.writeFile(at("added.txt"), "This one is new.\n");
      await fs.unlink(at("deleted.txt"));
      await fs.rename(at("old-name.txt"), at("new-name.txt"));
    },
    remove,
  };
}
