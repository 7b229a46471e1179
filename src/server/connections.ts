/** Keeps HTTP/2 connections alive, drops dead ones, and sends old and idle ones elsewhere. */
import { constants, type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { Logger } from "../log.js";

export interface ConnectionLimits {
  /** Between two pings; a connection that has not answered one by the next is dropped. */
  keepaliveMs: number;
  /** After this a connection gets a GOAWAY: its calls go on, new ones need a new connection. */
  maxAgeMs: number;
  /** ... and after this without a call. */
  idleMs: number;
  /** ... if none of its calls has shown a valid key or token: after this. */
  unknownMs: number;
  /** Of those, from one address. */
  unknownPerAddress: number;
}

/**
 * What a stream may have on its way unread. More is faster where an answer takes long, up to this times the round trips of a second; open
 * streams times this is what clients can have a server hold.
 */
const windowBytes = 256 * 1024;
/** Servers that were started together must not send all their clients away together: ages differ by up to a tenth. */
const ageSpread = 0.1;
const idleCheckMs = 1000;

interface Connection {
  address: string;
  /** A call on it has shown a valid key or token. */
  known: boolean;
  openCalls: number;
  /** When the last call ended, or the connection was made, in ms. */
  idleSinceMs: number;
}

export class Connections {
  readonly #sessions = new Map<ServerHttp2Session, Connection>();
  readonly #unanswered = new Set<ServerHttp2Session>();
  readonly #timers: NodeJS.Timeout[];
  readonly #limits: ConnectionLimits;
  readonly #log: Logger;

  constructor(limits: ConnectionLimits, log: Logger) {
    this.#limits = limits;
    this.#log = log;
    this.#timers = [setInterval(() => this.#pingAll(), limits.keepaliveMs), setInterval(() => this.#closeIdle(), idleCheckMs)];
    for (const timer of this.#timers) timer.unref();
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** Drops the connection if its address has too many that nobody is known of. */
  add(session: ServerHttp2Session): void {
    const address = session.socket.remoteAddress ?? "";
    const unknown = [...this.#sessions.values()].filter((other) => !other.known && other.address === address);
    if (unknown.length >= this.#limits.unknownPerAddress) {
      this.#log.debug({ peer: address }, "an address has too many connections without a valid key: one is dropped");
      if (!session.destroyed) session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      // Once that is out.
      setImmediate(() => session.destroy());
      return;
    }
    this.#sessions.set(session, { address, known: false, openCalls: 0, idleSinceMs: performance.now() });
    const ageMs = this.#limits.maxAgeMs * (1 - Math.random() * ageSpread);
    const old = setTimeout(() => session.close(), ageMs);
    old.unref();
    session.once("close", () => {
      clearTimeout(old);
      this.#sessions.delete(session);
      this.#unanswered.delete(session);
    });
  }

  /** A call has come in. */
  called(stream: ServerHttp2Stream): void {
    const connection = this.#of(stream);
    if (connection === undefined) return;
    connection.openCalls += 1;
    stream.once("close", () => {
      connection.openCalls -= 1;
      connection.idleSinceMs = performance.now();
    });
  }

  /** ... and its key or token is valid. */
  known(stream: ServerHttp2Stream): void {
    const connection = this.#of(stream);
    if (connection === undefined || connection.known) return;
    connection.known = true;
    const { session } = stream;
    if (session !== undefined && !session.destroyed) session.settings({ initialWindowSize: windowBytes });
  }

  /** GOAWAY to all; calls in progress go on. */
  sendAway(): void {
    for (const session of this.#sessions.keys()) session.close();
  }

  destroy(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const session of this.#sessions.keys()) session.destroy();
  }

  /** undefined: it has gone. */
  #of(stream: ServerHttp2Stream): Connection | undefined {
    return this.#sessions.get(stream.session as ServerHttp2Session);
  }

  #closeIdle(): void {
    for (const [session, { known, openCalls, idleSinceMs }] of this.#sessions) {
      const { idleMs, unknownMs } = this.#limits;
      if (openCalls === 0 && performance.now() - idleSinceMs > (known ? idleMs : unknownMs)) session.close();
    }
  }

  #pingAll(): void {
    for (const session of this.#sessions.keys()) {
      // It is told of as closed only later: after a pause of the process timers go off before that.
      if (session.destroyed) continue;
      if (this.#unanswered.has(session)) {
        this.#log.debug("a connection does not answer pings: dropped");
        session.destroy();
        continue;
      }
      this.#unanswered.add(session);
      session.ping((error) => {
        if (error === null) this.#unanswered.delete(session);
      });
    }
  }
}
