/** What is in a tree, by a program that shares nothing with ours: GNU find. */

import { isUtf8 } from "node:buffer";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

export interface WitnessFile {
  /** From the root, starting with `/`; raw bytes. */
  path: Buffer;
  sizeBytes: bigint;
  /** Whole seconds, towards the past. */
  mtimeUnix: bigint;
  allocatedBytes: bigint;
  linkCount: bigint;
}

export interface Witness {
  files: WitnessFile[];
  /** Paths of directories, as above; the root is `/`. */
  directories: Buffer[];
}

/** Whether this system's find is GNU's, which alone prints what is asked here. */
export function hasGnuFind(): boolean {
  return process.platform === "linux" && spawnSync("find", ["--version"], { encoding: "utf8" }).stdout?.includes("GNU findutils") === true;
}

/** Regular files and directories of the tree. %T@ is seconds, a point, and the nanoseconds after them: what is before the point is the floor. */
export async function findTree(root: string): Promise<Witness> {
  const child = spawn("find", [root, "-printf", "%y\\0%s\\0%T@\\0%b\\0%n\\0/%P\\0"], { stdio: ["ignore", "pipe", "pipe"] });
  const output: Buffer[] = [];
  let errors = "";
  child.stdout.on("data", (data: Buffer) => output.push(data));
  child.stderr.on("data", (data: Buffer) => (errors += data));
  await once(child, "close");
  const other = errors.split("\n").filter((line) => line !== "" && !/Permission denied|No such file or directory/.test(line));
  if (other.length > 0) throw new Error(`find failed:\n${other.join("\n")}`);
  return parse(Buffer.concat(output));
}

/** Directories that this process may not list or not pass through, as find has them. */
export function findUnreadable(root: string): string[] {
  const args = [root, "-type", "d", "(", "!", "-readable", "-o", "!", "-executable", ")", "-printf", "/%P\\0"];
  const { stdout } = spawnSync("find", args, { encoding: "utf8" });
  return stdout.split("\0").slice(0, -1);
}

/** Makes the files' attributes final: until they are written out, some file systems still change how much they allocate. */
export function settle(root: string): void {
  execFileSync("sync", ["-f", root]);
}

function parse(output: Buffer): Witness {
  const witness: Witness = { files: [], directories: [] };
  for (let at = 0; at < output.length; ) {
    const fields: Buffer[] = [];
    for (let i = 0; i < 6; i++) {
      const end = output.indexOf(0, at);
      fields.push(output.subarray(at, end));
      at = end + 1;
    }
    const [type, size, mtime, blocks, links, path] = fields as [Buffer, Buffer, Buffer, Buffer, Buffer, Buffer];
    if (type.toString() === "d") witness.directories.push(path);
    if (type.toString() !== "f") continue;
    witness.files.push({
      path,
      sizeBytes: BigInt(size.toString()),
      mtimeUnix: BigInt(mtime.toString().split(".")[0] as string),
      allocatedBytes: BigInt(blocks.toString()) * 512n,
      linkCount: BigInt(links.toString()),
    });
  }
  return witness;
}

/** As lines that two listings can be compared by; of those whose path is text. */
export function witnessLines(files: WitnessFile[]): string[] {
  return files
    .filter(({ path }) => isUtf8(path))
    .map(({ path, sizeBytes, mtimeUnix, allocatedBytes, linkCount }) =>
      [path.toString(), sizeBytes, mtimeUnix, allocatedBytes, linkCount].join(" | "),
    );
}

/** What `ls --json` prints of a file, as far as a witness sees it too. */
export interface ListedFile {
  fileId: string;
  path: string;
  sizeBytes: string;
  mtimeUnix: string;
  allocatedBytes: string;
  linkCount: string;
}

export function listedLines(files: ListedFile[]): string[] {
  return files.map((file) => [file.path, file.sizeBytes, file.mtimeUnix, file.allocatedBytes, file.linkCount].join(" | "));
}

const shown = 20;

/** What only one of two lists has, cut short: an assertion on hundreds of thousands of lines would not end. Lists with a line twice differ too. */
export function difference(found: string[], expected: string[]): { found: number; unexpected: string[]; lacking: string[] } {
  const [a, b] = [new Set(found), new Set(expected)];
  const unexpected = found.length === a.size ? found.filter((line) => !b.has(line)) : ["a line is there twice"];
  return { found: found.length, unexpected: unexpected.slice(0, shown), lacking: expected.filter((line) => !a.has(line)).slice(0, shown) };
}
