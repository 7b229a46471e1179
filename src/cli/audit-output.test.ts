import { expect, test } from "vitest";
import type { AuditResult } from "../agent/audit.js";
import { newAuditTotals } from "../agent/audit-counts.js";
import { auditJson, auditProgressWords, auditWords, createNotes } from "./audit-output.js";

const result: AuditResult = {
  counts: { ...newAuditTotals(), applied: 11n, refused: 1200n },
  unreported: 3,
  problems: [{ path: "/mnt/\u202ex.log", message: "EIO" }],
  progress: {
    state: "waiting",
    files: 2,
    lines: 1214,
    linesPerSecond: 12.345,
    positionBytes: 4608,
    lagBytes: 103,
    newestEventMicros: 1_790_188_249_118_204n,
  },
};

test("a round as JSON: 64-bit numbers are text, every counter is there, nothing drives a terminal", () => {
  const json = auditJson("s", result);
  expect(json).not.toMatch(/\u202e/);
  expect(JSON.parse(json)).toEqual({
    shareName: "s",
    counts: {
      applied: "11",
      duplicate: "0",
      stale: "0",
      inserted: "0",
      waiting: "0",
      moved: "0",
      deleted: "0",
      excluded: "0",
      refused: "1200",
      ignored: "0",
    },
    unreported: "3",
    files: 2,
    positionBytes: "4608",
    lagBytes: "103",
    linesPerSecond: 12.3,
    newestEventTime: "2026-09-23T18:30:49.118Z",
    problems: [{ path: "/mnt/\u202ex.log", message: "EIO" }],
  });
});

test("in words", () => {
  expect(auditWords(result)).toBe(
    "1,214 lines: 11 applied, 1,200 refused, 3 of which the answer was lost; 2 files, 4.5 KiB read, 103 B behind.",
  );
  expect(auditProgressWords(result.progress, 1_790_188_251_218)).toBe(
    "waiting  1,214 lines  12 lines/s  4.5 KiB read  103 B behind  newest event 2.1 s ago",
  );
  // A node whose clock is ahead, and one whose clock is beyond all dates.
  expect(auditProgressWords(result.progress, 0)).toContain("newest event 0.0 s ago");
  expect(auditJson("s", { ...result, progress: { ...result.progress, newestEventMicros: 2n ** 63n - 1n } })).toContain("microseconds");
});

test("notes: a problem is told once while it lasts, refused lines up to a number", () => {
  const notes: string[] = [];
  const { problems, refused, end } = createNotes({ note: (words) => notes.push(words) });
  problems(result.problems);
  problems(result.problems);
  problems([]);
  problems(result.problems);
  expect(notes).toHaveLength(2);
  for (let offset = 0; offset < 100; offset++) refused({ auditFilePath: "n/a.log", offset, reason: "the line is empty" });
  expect(notes).toHaveLength(2 + 20 + 1);
  expect(notes[2]).toBe("refused  n/a.log, byte 0: the line is empty");
  end(result, "/mnt");
  expect(notes).toHaveLength(23);
  end({ ...result, progress: { ...result.progress, files: 0 } }, "/mnt");
  expect(notes.at(-1)).toContain("Audit.FsEvents");
});
