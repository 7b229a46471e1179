import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Chunk } from "../gen/frostline/v1/scan_pb.js";
import { type CsvOptions, csvSource } from "./csv.js";
import { externalSort, type Sortable } from "./external-sort.js";

let top: string;
beforeAll(() => {
  top = fs.mkdtempSync(path.join(os.tmpdir(), "csv-"));
});
afterAll(() => fs.rmSync(top, { recursive: true }));

const posix: CsvOptions = { caseSensitive: true, backslashSeparates: false };
const windows: CsvOptions = { caseSensitive: false, backslashSeparates: true };
const header = "path,size_bytes,atime_unix,mtime_unix,ctime_unix";
let files = 0;

function write(text: string | Buffer): string {
  const file = path.join(top, `${files++}.csv`);
  fs.writeFileSync(file, text);
  return file;
}

async function open(text: string | Buffer, options: CsvOptions = posix) {
  return csvSource(write(text), { ...options, tempDir: top });
}

/** Directories in the order they come, as `path [complete]: name=size ...`, left-out names with a `!`. */
async function listed(chunks: AsyncIterable<Chunk>): Promise<string[]> {
  const found: string[] = [];
  for await (const { directories } of chunks) {
    for (const { path: directory, files: records, leftOut, complete } of directories) {
      const names = [
        ...records.map(({ name, sizeBytes }) => `${Buffer.from(name)}=${sizeBytes}`),
        ...leftOut.map(({ name, reason }) => `!${Buffer.from(name)} (${reason})`),
      ];
      found.push(`${Buffer.from(directory)}${complete ? " complete" : ""}: ${names.join(" ")}`);
    }
  }
  return found;
}

test("each directory once, whatever the order of the rows; columns in any order, others passed over", async () => {
  const text = `SIZE_BYTES,path,remark,atime_unix, mtime_unix ,ctime_unix,owner,frn,link_count,allocated_bytes,file_hash
1,/b/one,hello,10,20,30,S-1-5,7,2,512,${"ab".repeat(32)}
2,/a-b/x,,1,1,1,,,,,
3,"/a/new
line","quoted ""too""",1,1,1,,,,,
4,/a/b/deep,,1,1,1,,,,,
5,/b/two,,-1,-2,-3,,,,,
6,/root,,1,1,1,,,,,
`;
  const source = await open(`\uFEFF${text}`);
  expect(source).toMatchObject({ rows: 6, problemCount: 0 });
  expect(await listed(source.source(undefined))).toEqual(["/: root=6", "/a: new\nline=3", "/a/b: deep=4", "/a-b: x=2", "/b: one=1 two=5"]);
  for await (const { directories, owners } of source.source(Buffer.from("/a-b"))) {
    const [one, two] = directories[0]?.files ?? [];
    expect(one).toMatchObject({
      mtimeUnix: 20n,
      atimeBeforeMtime: 10n,
      ctimeBeforeMtime: -10n,
      frn: 7n,
      linkCount: 2,
      allocatedBytes: 512n,
    });
    expect(Buffer.from(one?.fileHash ?? "").toString("hex")).toBe("ab".repeat(32));
    expect(owners[(one?.ownerIndex ?? 0) - 1]).toBe("S-1-5");
    expect(two).toMatchObject({
      mtimeUnix: -2n,
      atimeBeforeMtime: -1n,
      frn: undefined,
      allocatedBytes: undefined,
      linkCount: 0,
      ownerIndex: 0,
    });
  }
  await source.close();
  expect(fs.readdirSync(top).filter((name) => name.startsWith("frostline-import-"))).toEqual([]);
});

test("names in UTF-8, and bytes that are none, stay as they are", async () => {
  const bad = Buffer.from([0x2f, 0x62, 0xff, 0x2c]);
  const text = Buffer.concat([
    Buffer.from(`${header}\n"/Shows/Harbor Lights/Élan — 東京.mov",99999999,1780000005,1780000005,1780000005\n`),
    bad,
    Buffer.from("1,1,1,1\n"),
  ]);
  const source = await open(text);
  expect(await listed(source.source(undefined))).toEqual([
    `/: ${Buffer.from([0x62, 0xff])}=1`,
    "/Shows/Harbor Lights: Élan — 東京.mov=99999999",
  ]);
  for await (const { directories } of source.source(undefined)) {
    expect(Buffer.from(directories[0]?.files[0]?.name ?? "")).toEqual(Buffer.from([0x62, 0xff]));
    break;
  }
  await source.close();
});

test("resuming after each directory gives the rest", async () => {
  const rows = ["/a/1", "/a/b/1", "/a-b/1", "/c/d/e/1", "/c/2", "/3"].map((name) => `${name},1,1,1,1`);
  for (const full of [false, true]) {
    const source = await open(`${header}\n${rows.join("\n")}\n`, { ...posix, full });
    const whole = await listed(source.source(undefined));
    const paths = whole.map((line) => line.slice(0, line.indexOf(full ? " complete" : ":")));
    for (let i = 0; i < paths.length; i++) {
      expect(await listed(source.source(Buffer.from(paths[i] as string)))).toEqual(whole.slice(i + 1));
    }
    await source.close();
  }
});

test("a full import also lists the directories above, complete", async () => {
  const source = await open(`${header}\n/a/b/c/x,1,1,1,1\n/a/z,2,1,1,1\n/a-b/y,3,1,1,1\n`, { ...posix, full: true });
  expect(await listed(source.source(undefined))).toEqual([
    "/ complete: ",
    "/a complete: z=2",
    "/a/b complete: ",
    "/a/b/c complete: x=1",
    "/a-b complete: y=3",
  ]);
  await source.close();
  const none = await open(`${header}\n`, { ...posix, full: true });
  expect(await listed(none.source(undefined))).toEqual(["/ complete: "]);
  await none.close();
});

test("backslashes separate, and case differs not, where the share says so", async () => {
  const text = `${header}\n\\Data\\x,1,1,1,1\n/DATA/y,2,1,1,1\n/data/Sub/ä,3,1,1,1\n\\data\\sub\\Z,4,1,1,1\n`;
  const source = await open(text, windows);
  expect(await listed(source.source(undefined))).toEqual(["/Data: x=1 y=2", "/data/Sub: ä=3 Z=4"]);
  await source.close();
  const lucid = await open(`${header}\n/a\\b/c\\d,1,1,1,1\n`);
  expect(await listed(lucid.source(undefined))).toEqual(["/a\\b: c\\d=1"]);
  await lucid.close();
});

test("a bad value leaves its file out, a row without a file is a problem; both with their lines", async () => {
  const text = `${header},file_hash
/a/ok,1,1,1,1,
/a/size,-1,1,1,1,
"/a/multi
line",1,1,1,1,
/a/time,1,soon,1,,
/a/hash,1,1,1,1,xyz

relative,1,1,1,1,
/a//b,1,1,1,1,
/a/../b,1,1,1,1,
/a/,1,1,1,1,
/a/short,1,1
/huge,18446744073709551616,1,1,1,
`;
  const source = await open(text);
  expect(source.problems.map(({ line, reason }) => `${line}: ${reason}`)).toEqual([
    "9: the path does not start with / (the share's root)",
    "10: the path has two separators in a row",
    "11: the path has the part ..",
    "12: the path ends with a separator: it names no file",
    "13: it has 3 fields, the first line 6",
  ]);
  expect(await listed(source.source(undefined))).toEqual([
    '/: !huge (line 14: size_bytes is not a whole number from 0 to 18446744073709551615: "18446744073709551616")',
    "/a: ok=1 multi\nline=1 " +
      '!size (line 3: size_bytes is not a whole number from 0 to 18446744073709551615: "-1") ' +
      '!time (line 6: atime_unix is not a whole number in seconds: "soon"; ctime_unix is empty) ' +
      "!hash (line 7: file_hash is not a SHA-256 in hex (64 digits))",
  ]);
  await source.close();
  await expect(open(text, { ...posix, full: true })).rejects.toThrow(/5 rows do not say which file they are \(line 9: .*without --full/);
});

test("files that are no such CSV", async () => {
  await expect(open("")).rejects.toThrow(/is empty/);
  await expect(open("path,size_bytes\n")).rejects.toThrow(/lacks the columns atime_unix, mtime_unix, ctime_unix/);
  await expect(open(`${header},PATH\n`)).rejects.toThrow(/names the column path twice/);
  await expect(open(Buffer.from(`\uFEFF${header}\n`, "utf16le"))).rejects.toThrow(/UTF-16/);
  await expect(open(`${header}\n"/never closed,1,1,1,1\n`)).rejects.toThrow(/cannot be read as CSV.*line/);
  expect(fs.readdirSync(top).filter((name) => name.startsWith("frostline-import-"))).toEqual([]);
});

test("sorting in many runs is sorting: by key, and in the order of arrival within a key", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom("", "a", "a\0b", "b", "\xff\n"), fc.string({ unit: "binary-ascii" })), { maxLength: 60 }),
      async (pairs) => {
        const items: Sortable[] = pairs.map(([key, value], i) => [key, value, String(i)]);
        const directory = fs.mkdtempSync(path.join(top, "sort-"));
        const runs = await externalSort(
          (async function* () {
            yield* items;
          })(),
          directory,
          { heldBytes: 1000, mergedAtOnce: 3 },
        );
        const sorted: Sortable[] = [];
        for await (const item of runs.read()) sorted.push(item);
        expect(sorted).toEqual([...items].sort((a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)));
        await runs.close();
        expect(fs.readdirSync(directory)).toEqual([]);
      },
    ),
    { numRuns: 50 },
  );
});
