/** A tree of everything that listings get wrong. Linux only. */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

export const manyFiles = 200_000;

/** Fills the empty directory `root`. */
export function makeAwkwardTree(root: string): void {
  makeNames(root);
  makeTimesAndSizes(root);
  makeKinds(root);
  makeLongPaths(root);
  makeMany(path.join(root, "many"));
}

function makeNames(root: string): void {
  const names = [
    "new\nline",
    "tab\t",
    "back\\slash",
    "\\",
    " blank ",
    "quote\"'`$",
    "control\x01\x1b[2J\x7f",
    "🦊👩‍👩‍👧",
    "e\u0301 is not \u00e9",
    "\u00e9 is not e\u0301",
    "\u202eright to left",
    "\ufeffmark",
    "\ufffd",
    "\u2028",
    "-rf",
    "*",
    "~",
    "...",
    ".x",
    "trailing.",
    "UPPER.TXT",
    "upper.txt",
    "CON",
    "a:b",
    "n".repeat(255),
    "東".repeat(85),
  ];
  fs.mkdirSync(path.join(root, "names"));
  for (const name of names) {
    fs.writeFileSync(path.join(root, "names", name), name);
    fs.mkdirSync(path.join(root, "names-of-directories", name), { recursive: true });
    fs.writeFileSync(path.join(root, "names-of-directories", name, "file"), "");
  }
  const notText = [Buffer.from([0xff, 0xfe]), Buffer.from([0x61, 0x80]), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from([0xc0, 0xaf])];
  for (const name of notText) {
    fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/names/`), name]), "");
    const directory = Buffer.concat([Buffer.from(`${root}/names-of-directories/`), name]);
    fs.mkdirSync(directory);
    fs.writeFileSync(Buffer.concat([directory, Buffer.from("/file")]), "");
    fs.mkdirSync(Buffer.concat([directory, Buffer.from("/empty")]));
  }
}

function makeTimesAndSizes(root: string): void {
  const times = [
    "1901-12-14T00:00:00.25Z",
    "1960-01-01T00:00:00.5Z",
    "1969-12-31T23:59:58.5Z",
    "1969-12-31T23:59:59.999999999Z",
    "1970-01-01T00:00:00Z",
    "2038-01-19T03:14:07.9Z",
    "2038-01-19T03:14:08Z",
    "2400-01-01T00:00:00.999999999Z",
  ];
  fs.mkdirSync(path.join(root, "times"));
  for (const time of times) {
    fs.writeFileSync(path.join(root, "times", time), "");
    // Node's own utimes takes negative times for "now".
    execFileSync("touch", ["-d", time, path.join(root, "times", time)]);
  }
  fs.mkdirSync(path.join(root, "sizes"));
  for (const sizeBytes of [0, 1, 511, 512, 513, 4096, 4097, 1_000_000])
    fs.writeFileSync(path.join(root, "sizes", `${sizeBytes}`), Buffer.alloc(sizeBytes, 1));
  fs.writeFileSync(path.join(root, "sizes", "sparse"), "");
  fs.truncateSync(path.join(root, "sizes", "sparse"), 2 ** 40);
}

function makeKinds(root: string): void {
  const at = (...names: string[]) => path.join(root, "kinds", ...names);
  fs.mkdirSync(at("empty", "emptier"), { recursive: true });
  fs.mkdirSync(at("Case"));
  fs.mkdirSync(at("case"));
  fs.writeFileSync(at("Case", "upper"), "");
  fs.writeFileSync(at("case", "lower"), "");
  fs.writeFileSync(at("file"), "content");
  for (let i = 0; i < 5; i++) fs.linkSync(at("file"), at("empty", `hard link ${i}`));
  fs.symlinkSync("file", at("link to a file"));
  fs.symlinkSync("..", at("link to a directory"));
  fs.symlinkSync("nowhere", at("link to nothing"));
  fs.symlinkSync("link to itself", at("link to itself"));
  execFileSync("mkfifo", [at("pipe")]);
}

/** 35 levels of 201 bytes: over 2,704 and 4,096 bytes. Made from inside, hop by hop: no system call takes the whole path. */
function makeLongPaths(root: string): void {
  const name = "d".repeat(200);
  fs.mkdirSync(path.join(root, "long"));
  execFileSync(
    "bash",
    ["-c", `for i in $(seq 35); do mkdir ${name} && cd ${name} && echo $i > file && mkdir empty; done; : > ${"f".repeat(255)}`],
    {
      cwd: path.join(root, "long"),
    },
  );
}

function makeMany(directory: string): void {
  fs.mkdirSync(directory);
  for (let i = 0; i < manyFiles; i++) fs.closeSync(fs.openSync(`${directory}/file ${i}`, "w"));
}
