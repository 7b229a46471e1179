/** A small real tree that changes at random. Every file has a size of its own, so that no two are taken for each other. */
import * as fs from "node:fs";
import * as path from "node:path";
import type { Random } from "./random.js";

export interface ChangingTree {
  /** One random change. */
  change(): void;
}

/** Fills the empty directory `root`. */
export function makeChangingTree(root: string, random: Random): ChangingTree {
  let made = 0;
  const newName = (kind: string) => `${kind}${++made}`;
  const write = (file: string) => fs.writeFileSync(file, Buffer.alloc(++made, 1));
  const directories = () => [
    root,
    ...below(root)
      .filter(({ directory }) => directory)
      .map(({ file }) => file),
  ];
  const files = () => below(root).flatMap(({ file, directory }) => (directory ? [] : [file]));
  const aDirectory = () => random.pick(directories());
  const aFile = () => random.pick(files());
  const place = (kind: string) => path.join(aDirectory(), newName(kind));
  const makeDirectory = (directory: string) => {
    fs.mkdirSync(directory);
    for (let i = random.between(0, 8); i > 0; i--) write(path.join(directory, newName("f")));
  };
  for (let i = 0; i < 40; i++) makeDirectory(place("d"));

  const changes: (() => void)[] = [
    () => write(place("new")),
    () => write(place("new")),
    () => makeDirectory(place("d")),
    // An edit in place, and one that puts another file there.
    () => write(aFile()),
    () => {
      const file = aFile();
      fs.unlinkSync(file);
      write(file);
    },
    () => fs.utimesSync(aFile(), new Date(), random.between(0, 2_000_000_000)),
    () => fs.chmodSync(aFile(), random.pick([0o600, 0o640, 0o644])),
    () => fs.unlinkSync(aFile()),
    () => rename(aFile(), place("moved")),
    () => rename(aFile(), aFile()),
    () => swap(aFile(), aFile(), path.join(root, newName("swapped"))),
    () => fs.linkSync(aFile(), `${place("link")}-${random.between(0, 1e9)}`),
    () => rename(aDirectory(), place("d")),
    () => {
      const directory = random.pick(directories().filter((at) => at !== root && below(at).length < 8));
      fs.rmSync(directory, { recursive: true });
      // Something else may take its name at once.
      if (random.next() < 0.5) write(directory);
    },
    () => {
      const file = aFile();
      fs.unlinkSync(file);
      makeDirectory(file);
    },
    () => fs.writeFileSync(Buffer.concat([Buffer.from(`${aDirectory()}/`), Buffer.from([0xff, random.between(0x80, 0xff)])]), ""),
  ];
  return { change: () => random.pick(changes)() };

  /** Not into itself, nor what is not there to begin with. */
  function rename(from: string, to: string): void {
    made += 1;
    if (from === root || to.startsWith(`${from}/`) || to === from) return;
    fs.renameSync(from, fs.existsSync(to) && fs.statSync(to).isDirectory() ? `${to}-${made}` : to);
  }
}

function swap(a: string, b: string, meanwhile: string): void {
  if (a === b) return;
  fs.renameSync(a, meanwhile);
  fs.renameSync(b, a);
  fs.renameSync(meanwhile, b);
}

/** Everything below whose name is text, in a stable order. */
function below(directory: string): { file: string; directory: boolean }[] {
  return fs
    .readdirSync(directory, { withFileTypes: true })
    .filter(({ name }) => !name.includes("\ufffd"))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const file = path.join(directory, entry.name);
      return [{ file, directory: entry.isDirectory() }, ...(entry.isDirectory() ? below(file) : [])];
    });
}
