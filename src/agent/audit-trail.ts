/** Finds the files of an audit trail. Opens none of them. */
import type { Dirent } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { trailDirectory } from "./lucidlink/parse.js";

/** A file of the trail. */
export interface AuditFile {
  /** Path from the trail's root, separated by `/`, without `.active`: it stays when the file is rotated. */
  auditFilePath: string;
  /** First component of that path; empty for a file right at the root. Order holds within a node only. */
  node: string;
  /** Where it is; first where it was found, then where it may have gone to since. */
  paths: [string, ...string[]];
  /** Still being written to. */
  active: boolean;
}

/** Something of the trail that could not be read. It is tried again in the next round. */
export interface TrailProblem {
  path: string;
  message: string;
}

const logEnd = ".log";
const activeEnd = ".active";

/** The trail of a filespace whose root `dir` is, or `dir` itself when it is the trail. Rejects when `dir` can't be read. */
export async function findTrail(dir: string): Promise<string> {
  const root = path.resolve(dir);
  if (!(await fs.stat(root)).isDirectory())
    throw new Error(`${dir} is not a directory. Give the root of the filespace, or of its audit trail.`);
  const inside = path.join(root, trailDirectory);
  const found = await fs.stat(inside).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  const trail = found?.isDirectory() === true ? inside : root;
  await (await fs.opendir(trail)).close();
  return trail;
}

/**
 * All logs below `root`, each node's in the order of time, which their names begin with. A directory that can't be read is
 * told of, and what is in the others is found all the same. Follows no symbolic links.
 */
export async function listAuditFiles(root: string, onProblem: (problem: TrailProblem) => void): Promise<AuditFile[]> {
  const found = new Map<string, AuditFile>();
  const directories = [""];
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    const here = path.join(root, directory);
    for (const entry of await readDirectory(here, onProblem)) {
      const below = directory === "" ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) directories.push(below);
      else if (entry.isFile()) add(found, root, below);
    }
  }
  return [...found.values()].sort(byNodeAndTime);
}

async function readDirectory(directory: string, onProblem: (problem: TrailProblem) => void): Promise<Dirent[]> {
  try {
    return await fs.readdir(directory, { withFileTypes: true });
  } catch (error) {
    onProblem({ path: directory, message: `The directory cannot be read: ${(error as Error).message}` });
    return [];
  }
}

function add(found: Map<string, AuditFile>, root: string, name: string): void {
  const active = name.endsWith(logEnd + activeEnd);
  if (!active && !name.endsWith(logEnd)) return;
  const auditFilePath = active ? name.slice(0, -activeEnd.length) : name;
  const slash = auditFilePath.indexOf("/");
  const closedPath = path.join(root, auditFilePath);
  const openPath = closedPath + activeEnd;
  const known = found.get(auditFilePath);
  // Both names at once: it was rotated while the directory was read, or is being copied. Until that is over it counts as open.
  found.set(auditFilePath, {
    auditFilePath,
    node: slash === -1 ? "" : auditFilePath.slice(0, slash),
    paths: active || known !== undefined ? [openPath, closedPath] : [closedPath],
    active: active || known?.active === true,
  });
}

function byNodeAndTime(a: AuditFile, b: AuditFile): number {
  // By the last component first: whether months are written 9 or 09 is not documented.
  return (
    compare(a.node, b.node) ||
    compare(path.posix.basename(a.auditFilePath), path.posix.basename(b.auditFilePath)) ||
    compare(a.auditFilePath, b.auditFilePath)
  );
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
