/**
 * Messages in one piece, on their way from Node to Connect. Connect keeps the pieces that a message comes in and counts them through at
 * each new one, and holds memory for all of a message once its length is known: a client that sends byte by byte would have it keep a
 * thousand times what it sent, and spend its time on counting.
 */
import { DomainError } from "../errors.js";
import type { MessageRoom } from "../limits/large-messages.js";

/** Flags, and the length of the message that follows. */
const headBytes = 5;
/** What a message is given at first when it is longer; agents send some 256 KiB. */
const firstBytes = 512 * 1024;
/** ... and one whose length nobody knows. */
const firstUnknownBytes = 4 * 1024;

/** Bytes that grow up to a length that is known, and take no more than twice of what has come. */
class Gathered {
  #bytes: Buffer;
  #length = 0;
  readonly #most: number;
  readonly #room: MessageRoom;

  constructor(most: number, room: MessageRoom, first = firstBytes) {
    this.#most = most;
    this.#room = room;
    this.#bytes = Buffer.allocUnsafeSlow(Math.min(most, first));
  }

  get missing(): number {
    return this.#most - this.#length;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** As much of it as is missing; returns how much that was. */
  take(piece: Uint8Array): number {
    const taken = piece.subarray(0, this.missing);
    const length = this.#length + taken.length;
    if (length > this.#bytes.length) {
      const grownBytes = Math.min(this.#most, Math.max(length, 2 * this.#bytes.length));
      this.#room.hold(grownBytes);
      const grown = Buffer.allocUnsafeSlow(grownBytes);
      this.#bytes.copy(grown, 0, 0, this.#length);
      this.#bytes = grown;
    }
    this.#bytes.set(taken, this.#length);
    this.#length = length;
    return taken.length;
  }
}

export interface MessageBounds {
  messageBytesAtMost: number;
  /** For what is on its way. */
  room: MessageRoom;
}

/**
 * The same bytes, cut so that each piece holds whole frames (of gRPC, gRPC-Web, Connect's streams); the last, what is left of one.
 * Throws RESOURCE_EXHAUSTED: MESSAGE_TOO_LARGE when a frame announces more than `messageBytesAtMost`, TOO_MANY_LARGE_MESSAGES without room.
 */
export async function* wholeFrames(body: AsyncIterable<Uint8Array>, bounds: MessageBounds): AsyncGenerator<Uint8Array> {
  const { messageBytesAtMost, room } = bounds;
  let frame: Gathered | undefined;
  let head = new Gathered(headBytes, room);
  try {
    for await (const piece of body) {
      let at = frame === undefined && head.missing === headBytes ? endOfWhole(piece, messageBytesAtMost) : 0;
      if (at > 0) yield piece.subarray(0, at);
      while (at < piece.length) {
        if (frame === undefined) {
          at += head.take(piece.subarray(at));
          if (head.missing > 0) break;
          frame = new Gathered(headBytes + lengthOf(head.bytes, 0, messageBytesAtMost), room);
          frame.take(head.bytes);
          head = new Gathered(headBytes, room);
        }
        at += frame.take(piece.subarray(at));
        if (frame.missing > 0) break;
        yield frame.bytes;
        frame = undefined;
        room.hold(0);
      }
    }
    const rest = frame?.bytes ?? head.bytes;
    if (rest.length > 0) yield rest;
  } finally {
    room.hold(0);
  }
}

/** Where the last frame ends that is whole; most messages come alone, in one piece. */
function endOfWhole(piece: Uint8Array, messageBytesAtMost: number): number {
  let at = 0;
  while (at + headBytes <= piece.length) {
    const end = at + headBytes + lengthOf(piece, at, messageBytesAtMost);
    if (end > piece.length) break;
    at = end;
  }
  return at;
}

function lengthOf(bytes: Uint8Array, at: number, messageBytesAtMost: number): number {
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at + 1);
  if (length > messageBytesAtMost) throw tooLarge(messageBytesAtMost);
  return length;
}

/** All of it in one piece: of a call of Connect's that has no frames. Throws as above. */
export async function* wholeBody(body: AsyncIterable<Uint8Array>, { messageBytesAtMost, room }: MessageBounds): AsyncGenerator<Uint8Array> {
  const gathered = new Gathered(messageBytesAtMost, room, firstUnknownBytes);
  try {
    for await (const piece of body) if (gathered.take(piece) < piece.length) throw tooLarge(messageBytesAtMost);
    yield gathered.bytes;
  } finally {
    room.hold(0);
  }
}

function tooLarge(messageBytesAtMost: number): DomainError {
  return new DomainError(
    "RESOURCE_EXHAUSTED",
    `The message has more than ${messageBytesAtMost} bytes, which is the most that this call takes.`,
    {
      reason: "MESSAGE_TOO_LARGE",
    },
  );
}
