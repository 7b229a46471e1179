/** A real tree of files, made once: 300 files in 27 directories each, as in the trees that GUFI and Robinhood were measured on. */
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const directoriesPer300Files = 27;
const subdirectories = 8;
const extensions = ["txt", "mxf", "jpg", "docx", "pdf", "wav", "prproj", "bin"];

export interface Tree {
  root: string;
  files: number;
  directories: number;
}

/** The same place for the same size. */
function placeOf(files: number): { root: string; done: string } {
  const root = path.join(os.tmpdir(), `frostline-bench-tree-${files}`);
  return { root, done: `${root}.done` };
}

/** Makes it unless it is there whole. Files are empty: nobody reads them. */
export function makeTree(files: number): Tree {
  const { root, done } = placeOf(files);
  const directories = Math.ceil((files * directoriesPer300Files) / 300);
  if (fs.existsSync(done)) return { root, files, directories };
  removeTree(files);
  const paths: string[] = [];
  for (let at = 0; at < directories; at += 1) {
    const parent = paths[Math.floor((at - 1) / subdirectories)];
    const directory = parent === undefined ? root : path.join(parent, `directory-${at.toString(36)}`);
    fs.mkdirSync(directory);
    paths.push(directory);
  }
  for (let at = 0; at < files; at += 1) {
    const name = `file-${at.toString(36).padStart(6, "0")}.${extensions[at % extensions.length]}`;
    fs.closeSync(fs.openSync(path.join(paths[at % directories] as string, name), "w"));
  }
  fs.writeFileSync(done, "");
  return { root, files, directories };
}

/** Resolves also when there is none. */
export function removeTree(files: number): void {
  const { root, done } = placeOf(files);
  fs.rmSync(done, { force: true });
  fs.rmSync(root, { recursive: true, force: true });
}
