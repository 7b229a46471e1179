/** Keeps HTTP/2 connections alive, drops dead ones, and sends old ones elsewhere. */
import type { ServerHttp2Session } from "node:http2";
import type { Logger } from "../log.js";

export interface ConnectionTimes {
  /** Between two pings; a connection that has not answered one by the next is dropped. */
  keepaliveMs: number;
  /** After this a connection gets a GOAWAY: its calls go on, new ones need a new connection. */
  maxAgeMs: number;
}

/** Servers that were started together must not send all their clients away together: ages differ by up to a tenth. */
const ageSpread = 0.1;

export class Connections {
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #unanswered = new Set<ServerHttp2Session>();
  readonly #pings: NodeJS.Timeout;
  readonly #times: ConnectionTimes;
  readonly #log: Logger;

  constructor(times: ConnectionTimes, log: Logger) {
    this.#times = times;
    this.#log = log;
    this.#pings = setInterval(() => this.#pingAll(), times.keepaliveMs);
    this.#pings.unref();
  }

  get size(): number {
    return this.#sessions.size;
  }

  add(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    const ageMs = this.#times.maxAgeMs * (1 - Math.random() * ageSpread);
    const old = setTimeout(() => session.close(), ageMs);
    old.unref();
    session.once("close", () => {
      clearTimeout(old);
      this.#sessions.delete(session);
      this.#unanswered.delete(session);
    });
  }

  /** GOAWAY to all; calls in progress go on. */
  sendAway(): void {
    for (const session of this.#sessions) session.close();
  }

  destroy(): void {
    clearInterval(this.#pings);
    for (const session of this.#sessions) session.destroy();
  }

  #pingAll(): void {
    for (const session of this.#sessions) {
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
