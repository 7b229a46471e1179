import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BlockingCalls } from "./blocking-calls.js";

let dir: string;
beforeAll(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "blocking-"));
});
afterAll(() => fs.rmSync(dir, { recursive: true }));

test("calls that only the processor kept waiting go on being made here", () => {
  const blocking = new BlockingCalls();
  blocking.took(5);
  expect(blocking.advisable).toBe(true);
});

test.runIf(process.platform === "linux")("after one that waited for a disk, 256 are made in flight", (context) => {
  const blocking = new BlockingCalls();
  if (!readFromDisk()) return context.skip("nothing here is read from a disk without its cache");
  blocking.took(0.1);
  expect(blocking.advisable).toBe(true);
  blocking.took(5);
  expect(blocking.advisable).toBe(false);
  blocking.madeInFlight(255);
  expect(blocking.advisable).toBe(false);
  blocking.madeInFlight(1);
  expect(blocking.advisable).toBe(true);
  // That read was seen; none came since.
  blocking.took(5);
  expect(blocking.advisable).toBe(true);
});

/** A block, past the cache. False where the file system has no disk. */
function readFromDisk(): boolean {
  const file = path.join(dir, "block");
  fs.writeFileSync(file, Buffer.alloc(4096), { flush: true });
  const before = process.resourceUsage().fsRead;
  const fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_DIRECT);
  const memory = new Uint8Array(1024 * 1024);
  // Where memory begins is not told; such a read takes whole blocks of it only.
  for (let at = 0; at < 4096 && !readInto(fd, memory.subarray(at, at + 4096)); at += 16);
  fs.closeSync(fd);
  return process.resourceUsage().fsRead > before;
}

function readInto(fd: number, memory: Uint8Array): boolean {
  try {
    return fs.readSync(fd, memory, 0, memory.length, 0) > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EINVAL") return false;
    throw error;
  }
}

test("other work of the thread has its turn within some ten milliseconds", async () => {
  const blocking = new BlockingCalls();
  let turns = 0;
  const endMs = performance.now() + 200;
  setImmediate(function again() {
    turns++;
    if (performance.now() < endMs) setImmediate(again);
  });
  while (performance.now() < endMs) await blocking.pause();
  expect(turns).toBeGreaterThanOrEqual(5);
});
