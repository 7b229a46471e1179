import { expect, test } from "vitest";
import { fromSeed } from "../../test/support/random.js";
import { LargeMessages } from "../limits/large-messages.js";
import { wholeBody, wholeFrames } from "./whole-frames.js";

const mib = 1024 * 1024;
const tooLarge = expect.objectContaining({ code: "RESOURCE_EXHAUSTED", reason: "MESSAGE_TOO_LARGE" });

function frame(length: number, fill: number): Buffer {
  const bytes = Buffer.alloc(5 + length, fill);
  bytes[0] = 0;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

interface Sent {
  bytes: Buffer;
  /** Of the next piece. */
  length: () => number;
  messageBytesAtMost?: number;
  messages?: LargeMessages;
}

async function* cut({ bytes, length }: Sent): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + length());
    yield bytes.subarray(at, end);
    at = end;
  }
}

/** Copies of the pieces: what was handed out may be used again. */
async function through(how: typeof wholeFrames, sent: Sent): Promise<Buffer[]> {
  const { messageBytesAtMost = 4 * mib, messages = new LargeMessages() } = sent;
  const all = [];
  for await (const piece of how(cut(sent), { messageBytesAtMost, room: messages.room("tests") })) all.push(Buffer.from(piece));
  return all;
}

test.each([1, 2, 3, 4, 5])("whatever pieces they come in, frames are whole and their bytes the same (seed %i)", async (seed) => {
  const random = fromSeed(seed);
  const bytes = Buffer.concat(Array.from({ length: 40 }, (_, n) => frame(random.pick([0, 1, 4, 100, 20_000, 600_000]), n)));
  const pieces = await through(wholeFrames, { bytes, length: () => random.pick([1, 2, 5, 6, 1000, 16_384, 65_536]) });
  expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
  for (const piece of pieces) {
    let at = 0;
    while (at < piece.length) at += 5 + piece.readUInt32BE(at + 1);
    expect(at).toBe(piece.length);
  }
});

test.each([1, 4, 5, 7, 104])("a frame that is cut off after %i bytes comes as far as it came", async (length) => {
  const bytes = frame(100, 7).subarray(0, length);
  expect(await through(wholeFrames, { bytes, length: () => 3 })).toEqual([bytes]);
});

test.each([5, 1])("a frame that announces too much is refused at its head, in pieces of %i bytes", async (length) => {
  const bytes = Buffer.from([0, 0, 0, 0, 11]);
  await expect(through(wholeFrames, { bytes, length: () => length, messageBytesAtMost: 10 })).rejects.toThrow(tooLarge);
});

test("frames of the most that they may have are taken, as they come", async () => {
  const bytes = Buffer.concat([frame(10, 1), frame(10, 2)]);
  expect(await through(wholeFrames, { bytes, length: () => 100, messageBytesAtMost: 10 })).toEqual([bytes]);
});

test("a body without frames comes in one piece, up to the most that it may have", async () => {
  const bytes = Buffer.alloc(10, 3);
  const sent = { bytes, length: () => 1 };
  expect(await through(wholeBody, { ...sent, messageBytesAtMost: 10 })).toEqual([bytes]);
  expect(await through(wholeBody, { ...sent, bytes: Buffer.alloc(0) })).toEqual([Buffer.alloc(0)]);
  await expect(through(wholeBody, { ...sent, messageBytesAtMost: 9 })).rejects.toThrow(tooLarge);
});

test.each([wholeFrames, wholeBody])(
  "without room a message is refused once it has grown so far, and gives back what it held: %o",
  async (how) => {
    const messages = new LargeMessages({ ofGroup: 2 * mib, inTotal: 2 * mib });
    const sent = { bytes: frame(3 * mib, 1), length: () => 16_384, messages };
    const noRoom = expect.objectContaining({ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_LARGE_MESSAGES" });
    await expect(through(how, sent)).rejects.toThrow(noRoom);
    messages.room("others").hold(2 * mib);
  },
);
