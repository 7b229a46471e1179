import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Random, seededRandom } from "../../test/support/random.js";
import { type Scratch, scratchDirectory } from "../../test/support/scratch.js";
import { batchBytes, type FilePosition, lineBytesAtMost, openAuditFile } from "./audit-file.js";

let scratch: Scratch;
let file: string;
beforeEach(async () => {
  scratch = await scratchDirectory();
  file = path.join(scratch.path, "a.log");
});
afterEach(() => scratch.remove());

interface Read {
  lines: { offset: number; text: string | undefined }[];
  position: FilePosition | undefined;
  batches: number;
}

/** All that is new, with `between` run after each batch. */
async function read(known?: FilePosition, between: () => Promise<void> = async () => {}): Promise<Read> {
  const opened = await openAuditFile([file], known);
  if (opened === undefined) throw new Error("the file is not there");
  const result: Read = { lines: [], position: opened.from, batches: 0 };
  try {
    for await (const { startOffset, endOffset, lines } of opened.batches()) {
      expect(startOffset).toBe(result.position?.position);
      for (const { offset, bytes } of lines) result.lines.push({ offset, text: bytes && Buffer.from(bytes).toString() });
      result.position = { position: endOffset, headFingerprint: opened.from?.headFingerprint as Uint8Array };
      result.batches++;
      await between();
    }
  } finally {
    await opened.close();
  }
  return result;
}

/** Whole lines of a text, each with the byte where it begins. */
function linesOf(text: string): { offset: number; text: string }[] {
  let offset = 0;
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => {
      const begin = offset;
      offset += Buffer.byteLength(line) + 1;
      return { offset: begin, text: line };
    });
}

function randomText(random: Random, lines: number): string {
  return Array.from({ length: lines }, (_, i) => `${i}${random.pick(["", "é", "{}", "\r", "x".repeat(random.between(0, 2000))])}\n`).join(
    "",
  );
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();

describe("growth", () => {
  test("whatever pieces a file is written in, each whole line is read once", async () => {
    const random = seededRandom();
    for (let round = 0; round < 20; round++) {
      const bytes = Buffer.from(randomText(random, random.between(1, 300)));
      await fs.writeFile(file, "");
      const lines: Read["lines"] = [];
      let known: FilePosition | undefined;
      for (let written = 0; written < bytes.length; ) {
        const piece = bytes.subarray(written, written + random.pick([1, 2, 100, 5_000, 100_000]));
        await fs.appendFile(file, piece);
        written += piece.length;
        const now = await read(known);
        lines.push(...now.lines);
        known = now.position;
        expect(known?.position ?? 0).toBe(bytes.subarray(0, written).lastIndexOf(10) + 1);
      }
      expect(lines).toEqual(linesOf(bytes.toString()));
    }
  });

  test("a large file comes in several batches, and from any line on", async () => {
    const text = randomText(seededRandom(), 4000);
    await fs.writeFile(file, text);
    const whole = await read();
    expect(whole.batches).toBeGreaterThan(1);
    expect(whole.lines).toEqual(linesOf(text));
    const from = linesOf(text)[1500]?.offset as number;
    const rest = await read({ position: from, headFingerprint: sha256("0") });
    expect(rest.lines).toEqual(whole.lines);
    const headFingerprint = whole.position?.headFingerprint as Uint8Array;
    expect(Buffer.from(headFingerprint)).toEqual(sha256(text.slice(0, text.indexOf("\n") + 1)));
    expect((await read({ position: from, headFingerprint })).lines).toEqual(whole.lines.slice(1500));
  });

  test("what is appended after it was opened waits for the next time", async () => {
    await fs.writeFile(file, "a\n");
    const first = await read(undefined, () => fs.appendFile(file, "b\n"));
    expect(first.lines).toEqual([{ offset: 0, text: "a" }]);
    expect((await read(first.position)).lines).toEqual([{ offset: 2, text: "b" }]);
  });

  test("a file without a whole line has neither lines nor a position", async () => {
    for (const text of ["", "no end"]) {
      await fs.writeFile(file, text);
      expect(await read()).toEqual({ lines: [], position: undefined, batches: 0 });
    }
  });
});

describe("odd lines", () => {
  test("longer than a batch, and longer than a line can be", async () => {
    const long = "x".repeat(batchBytes * 2);
    const atMost = "y".repeat(lineBytesAtMost);
    await fs.writeFile(file, `a\n${long}\n${atMost}\n${atMost}y\nb\n${long}`);
    const { lines, position } = await read();
    expect(lines.map(({ text }) => text)).toEqual(["a", long, atMost, undefined, "b"]);
    expect(position?.position).toBe(2 + long.length + 1 + 2 * (atMost.length + 1) + 1 + 2);
  });

  test("a long first line", async () => {
    const long = "x".repeat(10_000);
    await fs.writeFile(file, `${long}\n`);
    expect(Buffer.from((await read()).position?.headFingerprint as Uint8Array)).toEqual(sha256(`${long}\n`));
  });

  test("so many empty ones that their refusals would fill a message", async () => {
    await fs.writeFile(file, "\n".repeat(12_345));
    const { lines, batches } = await read();
    expect(lines.map(({ offset }) => offset)).toEqual(Array.from({ length: 12_345 }, (_, i) => i));
    expect(batches).toBe(3);
  });
});

describe("another file under the same name", () => {
  const first = "a1\nb1\nc1\n";
  let known: FilePosition | undefined;
  beforeEach(async () => {
    await fs.writeFile(file, first);
    known = (await read()).position;
    expect(known?.position).toBe(9);
  });

  test.each([
    ["shorter", "a2\n"],
    ["as long", "a2\nb2\nc2\n"],
    ["longer", "a2\nb2\nc2\nd2\n"],
  ])("%s: it is read from its begin", async (_length, text) => {
    await fs.writeFile(`${file}.new`, text);
    await fs.rename(`${file}.new`, file);
    const now = await read(known);
    expect(now.lines).toEqual(linesOf(text));
    expect(Buffer.from(now.position?.headFingerprint as Uint8Array)).toEqual(sha256("a2\n"));
  });

  test("truncated and written again in place", async () => {
    await fs.truncate(file);
    expect((await read(known)).position).toBeUndefined();
    await fs.writeFile(file, "z\ny\n");
    expect((await read(known)).lines).toEqual(linesOf("z\ny\n"));
  });

  test("truncated to some of its lines: they are read again, and so is what follows", async () => {
    await fs.truncate(file, 6);
    const now = await read(known);
    expect(now.lines).toEqual(linesOf("a1\nb1\n"));
    await fs.appendFile(file, "x1\n");
    expect((await read(now.position)).lines).toEqual([{ offset: 6, text: "x1" }]);
  });

  test("a position within a line, which nobody reads up to: from its begin", async () => {
    const headFingerprint = known?.headFingerprint as Uint8Array;
    expect((await read({ position: 4, headFingerprint })).lines).toEqual(linesOf(first));
    expect((await read({ position: 3, headFingerprint })).lines).toEqual(linesOf(first).slice(1));
  });
});

describe("while it is being read", () => {
  const text = `a\n${"x\n".repeat(300_000)}`;
  const positionOf = (count: number) => linesOf(text)[count]?.offset ?? text.length;

  test("rotation changes nothing", async () => {
    await fs.writeFile(file, text);
    const { lines } = await read(undefined, () => fs.rename(file, `${file}.old`).catch(() => {}));
    expect(lines).toEqual(linesOf(text));
  });

  test("truncation ends the reading after what was read", async () => {
    await fs.writeFile(file, text);
    const { lines, position } = await read(undefined, () => fs.truncate(file, 0));
    expect(lines).toEqual(linesOf(text).slice(0, lines.length));
    expect(lines.length).toBeLessThan(300_000);
    expect(position?.position).toBe(positionOf(lines.length));
  });

  test("another content in the same place is never taken for the rest of the first", async () => {
    await fs.writeFile(file, text);
    const { lines, position } = await read(undefined, () => fs.writeFile(file, text.replace("a\n", "b\n").replaceAll("x", "y")));
    expect(new Set(lines.map((line) => line.text))).toEqual(new Set(["a", "x"]));
    expect((await read(position)).lines.slice(0, 2)).toEqual([
      { offset: 0, text: "b" },
      { offset: 2, text: "y" },
    ]);
  });
});

test("the first of several names that is there is opened; none, when all are gone", async () => {
  await fs.writeFile(file, "a\n");
  const opened = await openAuditFile([`${file}.active`, file], undefined);
  expect(opened?.sizeBytes).toBe(2);
  await opened?.close();
  expect(await openAuditFile([`${file}.active`, `${file}.other`], undefined)).toBeUndefined();
});

test("the system's errors are told", async () => {
  await expect(openAuditFile([scratch.path], undefined)).rejects.toThrow("EISDIR");
});
