/** HTTP/2 by hand, over a socket: frames that no library sends, and what the server says to them. */
import { once } from "node:events";
import * as net from "node:net";
import { setTimeout as delay } from "node:timers/promises";

export const type = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const flag = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** `length` may say something else than the payload. */
export function h2frame(
  frameType: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(length, 0, 3);
  head[3] = frameType;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** RFC 7541, 5.1; the bits before the prefix are 0. */
function hpackInteger(value: number, prefixBits: number): Buffer {
  const most = 2 ** prefixBits - 1;
  if (value < most) return Buffer.from([value]);
  const bytes = [most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function hpackText(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([hpackInteger(bytes.length, 7), bytes]);
}

/** Literals, not indexed; with `indexed`, into the dynamic table. */
export function hpack(headers: readonly (readonly [string, string])[], { indexed = false } = {}): Buffer {
  const first = Buffer.from([indexed ? 0x40 : 0x00]);
  return Buffer.concat(headers.flatMap(([name, value]) => [first, hpackText(name), hpackText(value)]));
}

/** The headers of a gRPC call; those of the same name are replaced, or left out where they are undefined. */
export function callHeaders(path: string, key: string, changed: Record<string, string | undefined> = {}): [string, string][] {
  const headers: Record<string, string | undefined> = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "server",
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${key}`,
    ...changed,
  };
  return Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined);
}

export interface ReceivedFrame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

function isGoodbye({ type: frameType, payload }: ReceivedFrame): boolean {
  return frameType === type.goaway && payload.length >= 8 && payload.readUInt32BE(4) !== 0;
}

/** What is kept of what the server sends; a flood of answers is thrown away. */
const keptBytes = 4 * 1024 * 1024;

export class RawConnection {
  readonly socket: net.Socket;
  /** Resolves when the connection is over. */
  readonly closed: Promise<unknown>;
  #received: Buffer = Buffer.alloc(0);

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => void socket.once("close", resolve));
    // Resets are what is asked for; `closed` tells.
    socket.on("error", () => {});
    socket.on("data", (data: Buffer) => {
      if (this.#received.length < keptBytes) this.#received = Buffer.concat([this.#received, data]);
    });
  }

  /** From an address of its own, if one is given: the server counts connections by address. */
  static async open(address: string, localAddress?: string): Promise<RawConnection> {
    const [host, port] = address.split(":") as [string, string];
    const socket = net.connect({ host, port: Number(port), ...(localAddress === undefined ? {} : { localAddress }) });
    await once(socket, "connect");
    return new RawConnection(socket);
  }

  /** With the preface, and settings that are as they should be. */
  static async openHttp2(address: string, settings: Buffer = Buffer.alloc(0)): Promise<RawConnection> {
    const connection = await RawConnection.open(address);
    await connection.send(preface, h2frame(type.settings, 0, 0, settings));
    return connection;
  }

  get isClosed(): boolean {
    return this.socket.closed || this.socket.destroyed || this.socket.readableEnded;
  }

  get received(): Buffer {
    return this.#received;
  }

  get frames(): ReceivedFrame[] {
    const frames = [];
    for (let at = 0; at + 9 <= this.#received.length; ) {
      const bytes = this.#received;
      const length = bytes.readUIntBE(at, 3);
      const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff;
      frames.push({
        type: bytes[at + 3] as number,
        flags: bytes[at + 4] as number,
        stream,
        payload: bytes.subarray(at + 9, at + 9 + length),
      });
      at += 9 + length;
    }
    return frames;
  }

  /** As fast as the server takes it; nothing more once the connection is over. */
  async send(...parts: Uint8Array[]): Promise<void> {
    for (const part of parts) {
      if (this.isClosed || this.socket.writableEnded) return;
      if (!this.socket.write(part)) await Promise.race([once(this.socket, "drain").catch(() => {}), this.closed]);
    }
  }

  /** Whether the server answers a ping, or ends the connection, and which; "silent" after so long. */
  async fate(withinMs: number): Promise<"ended" | "alive" | "silent"> {
    const mark = Buffer.from("are you?");
    await this.send(h2frame(type.ping, 0, 0, mark));
    const untilMs = performance.now() + withinMs;
    while (performance.now() < untilMs) {
      // After GOAWAY with an error nothing is listened to; while a call is open, the connection itself may be there until it is pinged.
      if (this.isClosed || this.frames.some(isGoodbye)) return "ended";
      if (this.frames.some((frame) => frame.type === type.ping && frame.payload.equals(mark))) return "alive";
      await Promise.race([this.closed, delay(10)]);
    }
    return "silent";
  }

  destroy(): void {
    this.socket.destroy();
  }
}
