/** Sorts more lines than fit in memory: sorted runs on disk, merged while they are read. */
import { createReadStream } from "node:fs";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { createInterface } from "node:readline";

/** What is sorted: by key, by code unit. Items with one key keep their order. Strings hold one byte a character. */
export type Sortable = [key: string, ...values: string[]];

export interface SortedRuns {
  /** All items in order; may be called more than once. */
  read(): AsyncIterable<Sortable>;
  /** Removes the files. */
  close(): Promise<void>;
}

export interface SortLimits {
  /** Memory for items before they become a run, in bytes. */
  heldBytes: number;
  /** Runs merged at once: as many files are open. */
  mergedAtOnce: number;
}

const defaultLimits: SortLimits = { heldBytes: 32 * 1024 * 1024, mergedAtOnce: 64 };
const writeBytes = 1024 * 1024;
/** What an item costs beside its characters: an object, two strings' headers. */
const itemBytes = 100;

/** An item as it is held and written: as text it takes a third of the memory of its values. */
interface Line {
  key: string;
  text: string;
}

/** Sorts into `directory`, which the caller makes and removes. Rejects with the source's error. */
export async function externalSort(
  items: AsyncIterable<Sortable>,
  directory: string,
  limits: SortLimits = defaultLimits,
): Promise<SortedRuns> {
  let runs: string[] = [];
  let held: Line[] = [];
  let heldBytes = 0;
  let made = 0;
  const newRun = () => path.join(directory, `run-${made++}`);

  const spill = async () => {
    held.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
    const run = newRun();
    await writeRun(run, held);
    runs.push(run);
    held = [];
    heldBytes = 0;
  };
  for await (const item of items) {
    const line = toLine(item);
    held.push(line);
    heldBytes += itemBytes + line.key.length + line.text.length;
    if (heldBytes >= limits.heldBytes) await spill();
  }
  if (held.length > 0) await spill();
  while (runs.length > limits.mergedAtOnce) {
    const first = runs.slice(0, limits.mergedAtOnce);
    const merged = newRun();
    await writeRun(merged, linesOf(mergeRuns(first)));
    await Promise.all(first.map((run) => fs.rm(run)));
    // In front: of items with one key, those of earlier runs come first.
    runs = [merged, ...runs.slice(limits.mergedAtOnce)];
  }
  return {
    read: () => mergeRuns(runs),
    close: async () => {
      await Promise.all(runs.map((run) => fs.rm(run, { force: true })));
    },
  };
}

/** One JSON array a line: names may hold any character, JSON leaves no line break in them. */
function toLine(item: Sortable): Line {
  return { key: item[0], text: `${JSON.stringify(item)}\n` };
}

async function* linesOf(items: AsyncIterable<Sortable>): AsyncGenerator<Line> {
  for await (const item of items) yield toLine(item);
}

async function writeRun(run: string, lines: Iterable<Line> | AsyncIterable<Line>): Promise<void> {
  const file = await fs.open(run, "wx", 0o600);
  try {
    let text = "";
    for await (const line of lines) {
      text += line.text;
      if (text.length >= writeBytes) {
        await file.appendFile(text, "latin1");
        text = "";
      }
    }
    await file.appendFile(text, "latin1");
  } finally {
    await file.close();
  }
}

async function* readRun(run: string): AsyncGenerator<Sortable> {
  const input = createReadStream(run, "latin1");
  try {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) yield JSON.parse(line) as Sortable;
  } finally {
    // Closing the line reader alone leaves the file open.
    input.destroy();
  }
}

async function* mergeRuns(runs: string[]): AsyncGenerator<Sortable> {
  const readers = runs.map(readRun);
  try {
    const heads = await Promise.all(readers.map((reader) => reader.next()));
    for (;;) {
      let least = -1;
      let leastItem: Sortable | undefined;
      for (let i = 0; i < heads.length; i++) {
        const head = heads[i] as IteratorResult<Sortable>;
        if (head.done === true || (leastItem !== undefined && head.value[0] >= leastItem[0])) continue;
        least = i;
        leastItem = head.value;
      }
      if (leastItem === undefined) return;
      yield leastItem;
      heads[least] = await (readers[least] as AsyncGenerator<Sortable>).next();
    }
  } finally {
    await Promise.all(readers.map((reader) => reader.return(undefined)));
  }
}
