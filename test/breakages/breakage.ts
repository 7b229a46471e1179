/** What a deliberate breakage of the code is, and how it is held against the code and the tests. */
import * as fs from "node:fs";
import * as path from "node:path";

/** An exact piece of a file, which is there once, and what stands in its place in the broken code. */
export interface Change {
  /** From the checkout's root. */
  file: string;
  find: string;
  replace: string;
}

export interface Breakage {
  /** What the broken code does, in a few words; also what the command line picks it by. */
  name: string;
  changes: Change[];
  /** A test of the ordinary suite that fails then. */
  caughtBy: NamedTest;
}

export interface NamedTest {
  file: string;
  /** Its own or that of what holds it, as it stands in the file, with its `%s` and `${...}`: of several, one has to fail. */
  title: string;
}

/** What of the changes cannot be made to the tree at `root`, in words. */
export function misfits(root: string, { changes }: Breakage): string[] {
  return changes.flatMap(({ file, find, replace }) => {
    const at = path.join(root, file);
    if (!fs.existsSync(at)) return [`${file} is not there`];
    const times = fs.readFileSync(at, "utf8").split(find).length - 1;
    if (times !== 1) return [`${file} has ${times} times, and not once: ${find.trim()}`];
    return find === replace ? [`${file}: nothing is changed`] : [];
  });
}

/** Whether the file has a test of that title. */
export function hasTest(root: string, { file, title }: NamedTest): boolean {
  const at = path.join(root, file);
  return fs.existsSync(at) && ['"', "'", "`"].some((quote) => fs.readFileSync(at, "utf8").includes(quote + title + quote));
}

/** What a title may have become when its test runs. */
export function titlePattern(title: string): string {
  return title.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&").replace(/%[sdifjo]|\\\$\\\{.*?\\\}|\\\$[a-z]\w*/g, ".*");
}
