/** Files and values at the edges of what rules compare: int64, the years 0001 and 9999, empty, astral and special characters. */
import type pg from "pg";
import type { FileValues } from "../../src/planner/cel/index.js";
import type { Random } from "./random.js";

export const nowUnix = 1_795_564_800n; // 2026-11-25T00:00:00Z

const int64Low = -(2n ** 63n);
const int64High = 2n ** 63n - 1n;
export const earliestUnix = -62_135_596_800n;
export const latestUnix = 253_402_300_799n;
const day = 86_400n;

export const edgeSizes = [
  0n,
  1n,
  -1n,
  2n,
  1023n,
  1024n,
  1025n,
  10n * 1024n ** 3n,
  2n ** 31n,
  2n ** 53n + 1n,
  int64High,
  int64High - 1n,
  int64High / 2n,
].concat([int64Low, int64Low + 1n, int64Low / 2n, -(2n ** 53n) - 1n]);

export const edgeTimes = [
  0n,
  -1n,
  1n,
  earliestUnix,
  earliestUnix + 1n,
  latestUnix,
  latestUnix - 1n,
  -11_644_473_600n,
  951_782_400n,
  2n ** 31n,
].concat([nowUnix, nowUnix - 1n, nowUnix + 1n, nowUnix - day, nowUnix - 90n * day, nowUnix - 90n * day - 1n, nowUnix + 3650n * day]);

export const edgeTexts = [
  "",
  "/",
  "//",
  "/Active",
  "/Active/",
  "/Active/a.mov",
  "/active/a.mov",
  "/Active/x/y/a.mov",
  "a.mov",
  "mov",
  "mxf",
  "MOV",
  ".mov",
]
  .concat([
    "100%",
    "a_b",
    "a%b",
    "axb",
    "[x]",
    "{a,b}",
    "\\d+",
    "\\",
    "\\\\",
    "*",
    "**",
    "?",
    ".*",
    "^a$",
    "(a|b)",
    "+",
    "$1",
    "x'y",
    'x"y',
    "NULL",
  ])
  .concat([
    "'; DROP TABLE file; --",
    "𝒳",
    "😀/𝒳.mov",
    "/Active/😀/é",
    "é",
    "e\u0301",
    "ß",
    "SS",
    "İ",
    "ı",
    "ﬀ",
    "a\nb",
    "a\n",
    "\r",
    "\t",
    " ",
    "\u00a0",
  ])
  .concat([
    "\ufeff",
    "\ue000",
    "\uffff",
    "\u{10ffff}",
    "日本",
    "a b",
    "//comment",
    "x".repeat(300),
    "/a/b/c/d/e/f/g",
    "true",
    "***",
    "(?i)a",
    "\u0001",
    "\u007f",
  ]);

/** Few characters, so that texts and patterns meet. */
const alphabet = ["a", "b", "m", "/", "/", ".", "*", "?", "[", "]", "%", "_", "\\", "𝒳", "é", "\n", "$"];

export function randomText(random: Random): string {
  if (random.next() < 0.4) return random.pick(edgeTexts);
  return Array.from({ length: random.between(0, 6) }, () => random.pick(alphabet)).join("");
}

export function randomSize(random: Random): bigint {
  if (random.next() < 0.6) return random.pick(edgeSizes);
  return random.pick(edgeSizes.filter((size) => size > int64Low && size < int64High)) + BigInt(random.between(-1, 1));
}

export function randomTime(random: Random): bigint {
  if (random.next() < 0.6) return random.pick(edgeTimes);
  return nowUnix - BigInt(random.between(-400, 4000)) * day + BigInt(random.between(-1, 1));
}

export function randomFile(random: Random): FileValues {
  const mtime = randomTime(random);
  const dir = randomText(random);
  return {
    share: randomText(random),
    path: random.next() < 0.5 ? randomText(random) : `${dir}/${randomText(random)}`,
    dir,
    name: randomText(random),
    extension: randomText(random).toLowerCase(),
    owner: randomText(random),
    size: randomSize(random),
    atime: randomTime(random),
    mtime,
    ctime: random.next() < 0.3 ? mtime : randomTime(random),
    last_used: randomTime(random),
    tier_state: random.pick(["", "", "PLANNED", "STUBBED", "REHYDRATED", "DELETED"]),
  };
}

/** A temporary table `f` of these files, numbered by `row_no` from 0. `owner` has another collation than the rest. */
export async function storeFiles(client: pg.Client, files: FileValues[]): Promise<void> {
  await client.query(
    `CREATE TEMP TABLE f (row_no integer, share text COLLATE "C", path text COLLATE "C", dir text COLLATE "C", name text COLLATE "C",
       extension text COLLATE "C", owner text COLLATE "POSIX", size bigint, atime bigint, mtime bigint, ctime bigint, last_used bigint, tier_state text)`,
  );
  const values = (name: keyof FileValues) => files.map((file) => String(file[name]));
  await client.query(
    `INSERT INTO f SELECT row_no - 1, share, path, dir, name, extension, owner, size, atime, mtime, ctime, last_used, tier_state
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[])
       WITH ORDINALITY AS t(share, path, dir, name, extension, owner, size, atime, mtime, ctime, last_used, tier_state, row_no)`,
    (["share", "path", "dir", "name", "extension", "owner", "size", "atime", "mtime", "ctime", "last_used", "tier_state"] as const).map(
      values,
    ),
  );
}
