import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FileChange, FileDifferenceSchema, FileInfoSchema } from "../../gen/frostline/v1/file_pb.js";
import { createDifferences } from "./differences.js";
import { createReport } from "./report.js";

const nowUnix = 1_800_000_000;
const day = 86_400;

function file(path: string, sizeBytes: number, ageDays: number, mtimeAgeDays = ageDays) {
  return create(FileInfoSchema, {
    path,
    sizeBytes: BigInt(sizeBytes),
    atimeUnix: BigInt(nowUnix - ageDays * day),
    mtimeUnix: BigInt(nowUnix - mtimeAgeDays * day),
  });
}

/** Lines of the section that begins with `title`, up to the next empty line, without its two heads. */
function section(lines: string[], title: string): string[] {
  const from = lines.findIndex((line) => line.startsWith(title));
  const rest = lines.slice(from + 2);
  const end = rest.indexOf("");
  return end === -1 ? rest : rest.slice(0, end);
}

test("files fall into the class of their size and of the later of access and modification", () => {
  const report = createReport(nowUnix);
  report.add(file("/new", 10, 1));
  report.add(file("/future", 10, -400));
  report.add(file("/read lately", 1024 * 1024, 29, 4000));
  report.add(file("/written lately", 1024 * 1024 - 1, 4000, 30));
  report.add(file("/a year", 100 * 1024 * 1024, 365));
  report.add(file("/old", 2 ** 31, 2000));
  report.add(create(FileInfoSchema, { path: "/only heard of" }));
  expect(section(report.lines(), "Files and bytes").map((line) => line.trim().split(/ {2,}/))).toEqual([
    ["< 30 d", "2 / 20 B", "1 / 1.0 MiB", "-", "-", "3 / 1.0 MiB"],
    ["30-180 d", "1 / 1.0 MiB", "-", "-", "-", "1 / 1.0 MiB"],
    ["180 d-1 y", "-", "-", "-", "-", "-"],
    ["1-3 y", "-", "-", "1 / 100.0 MiB", "-", "1 / 100.0 MiB"],
    ["> 3 y", "-", "-", "-", "1 / 2.0 GiB", "1 / 2.0 GiB"],
    ["all", "3 / 1.0 MiB", "1 / 1.0 MiB", "1 / 100.0 MiB", "1 / 2.0 GiB", "6 / 2.1 GiB"],
  ]);
});

test("the ten oldest and the ten largest are those a full sort finds", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(50), fc.nat(50)), { maxLength: 60 }), (values) => {
      const files = values.map(([sizeBytes, age], i) => file(`/${i}`, sizeBytes, age));
      const report = createReport(nowUnix);
      for (const one of files) report.add(one);
      const paths = (title: string) => section(report.lines(), title).map((line) => line.split("  ").at(-1));
      const sorted = (by: (f: (typeof files)[number]) => bigint) => files.toSorted((a, b) => Number(by(a) - by(b)));
      const first = (some: typeof files) => some.slice(0, 10).map((one) => one.path);
      expect(paths("Oldest files")).toEqual(first(sorted((f) => f.atimeUnix as bigint)));
      expect(paths("Largest files")).toEqual(first(sorted((f) => -(f.sizeBytes as bigint))));
    }),
  );
});

function difference(change: FileChange, path: string, fileId: bigint) {
  return create(FileDifferenceSchema, { change, file: { path, fileId, sizeBytes: 7n } });
}

test("a removal and an addition of one file are a move; the demo's own changes come first", () => {
  const summary = createDifferences("frostline-demo-1");
  summary.add(difference(FileChange.CHANGED, "/other\x1b[2J", 1n));
  summary.add(difference(FileChange.REMOVED, "/frostline-demo-1/old", 2n));
  summary.add(difference(FileChange.ADDED, "/frostline-demo-1/new", 2n));
  summary.add(difference(FileChange.REMOVED, "/frostline-demo-1/gone", 3n));
  expect(summary.lines()).toEqual([
    "  moved    /frostline-demo-1/old -> /frostline-demo-1/new",
    "  removed  /frostline-demo-1/gone",
    "  changed  /other\\x1b[2J (7 B)",
  ]);
});

test("any number of differences ends in a few lines and a true count", () => {
  const summary = createDifferences("frostline-demo-1");
  for (let i = 0; i < 5000; i += 1) summary.add(difference(FileChange.ADDED, `/${i}`, BigInt(i + 10)));
  summary.add(difference(FileChange.CHANGED, "/frostline-demo-1/edited", 1n));
  expect(summary.lines()[0]).toBe("  changed  /frostline-demo-1/edited (7 B)");
  expect(summary.lines()).toHaveLength(21);
  expect(summary.lines().at(-1)).toBe("  ... and 4,981 more");
  expect(createDifferences("x").lines()).toEqual(["  nothing"]);
});
