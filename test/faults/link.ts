/** A TCP connection's way, on which things go wrong: a proxy that cuts, delays, throttles, half-closes and stalls. */
import { once } from "node:events";
import * as net from "node:net";
import { setTimeout as delay } from "node:timers/promises";

interface Pair {
  client: net.Socket;
  server: net.Socket;
  /** What the client still sends is dropped: the server was told that nothing comes any more. */
  halfClosed: boolean;
}

export class Link {
  readonly name: string;
  /** Before each piece of data, in both directions. */
  delayMs = 0;
  /** Bytes a second of each direction of each connection. */
  rate = Number.POSITIVE_INFINITY;
  /** New connections are refused. */
  refusing = false;
  readonly #target: number;
  readonly #listener: net.Server;
  readonly #pairs = new Set<Pair>();
  #stalled: Promise<void> | undefined;
  #release = () => {};

  private constructor(name: string, target: number) {
    this.name = name;
    this.#target = target;
    this.#listener = net.createServer({ allowHalfOpen: true }, (client) => this.#connect(client));
  }

  /** To a port of this machine. */
  static async open(name: string, target: number): Promise<Link> {
    const link = new Link(name, target);
    link.#listener.listen(0, "127.0.0.1");
    await once(link.#listener, "listening");
    return link;
  }

  get port(): number {
    return (this.#listener.address() as net.AddressInfo).port;
  }

  get connections(): number {
    return this.#pairs.size;
  }

  /** Ends all connections: with a reset, as when a host is gone, or as if either end had closed them. */
  cut(reset: boolean): number {
    const count = this.#pairs.size;
    for (const { client, server } of this.#pairs) {
      for (const socket of [client, server]) {
        if (reset) socket.resetAndDestroy();
        else socket.destroy();
      }
    }
    return count;
  }

  /** The servers are told that their clients have sent all; the clients do not know, and still get answers. */
  halfClose(): number {
    const open = [...this.#pairs].filter(({ halfClosed }) => !halfClosed);
    for (const pair of open) {
      pair.halfClosed = true;
      pair.server.end();
    }
    return open.length;
  }

  /** What is half closed is gone. */
  endHalfClosed(): void {
    for (const { client, server, halfClosed } of this.#pairs) {
      if (!halfClosed) continue;
      client.resetAndDestroy();
      server.resetAndDestroy();
    }
  }

  /** Nothing passes until `resume`, and nobody is told. */
  stall(): void {
    this.#stalled ??= new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  resume(): void {
    this.#stalled = undefined;
    this.#release();
  }

  async close(): Promise<void> {
    const closed = once(this.#listener, "close");
    this.#listener.close();
    this.resume();
    this.cut(false);
    await closed;
  }

  #connect(client: net.Socket): void {
    if (this.refusing) {
      client.resetAndDestroy();
      return;
    }
    const server = net.connect({ port: this.#target, host: "127.0.0.1", allowHalfOpen: true });
    const pair = { client, server, halfClosed: false };
    this.#pairs.add(pair);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      // Whichever end breaks, for whatever reason, takes the other along.
      one.on("error", () => other.destroy());
      one.on("close", () => {
        this.#pairs.delete(pair);
        if (one.destroyed && !one.readableEnded) other.destroy();
      });
    }
    void this.#pass(client, server, pair);
    void this.#pass(server, client, pair);
  }

  async #pass(from: net.Socket, to: net.Socket, pair: Pair): Promise<void> {
    try {
      for await (const data of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        if (this.delayMs > 0) await delay(this.delayMs);
        if (this.rate < Number.POSITIVE_INFINITY) await delay((data.length / this.rate) * 1000);
        while (this.#stalled !== undefined) await this.#stalled;
        if (to === pair.server && pair.halfClosed) continue;
        if (!to.write(data) && !to.destroyed) await Promise.race([once(to, "drain"), once(to, "close")]);
      }
      to.end();
    } catch {
      // The connection broke: that is what it is for, and both ends learn it.
      from.destroy();
      to.destroy();
    }
  }
}

/** A port that is free at the moment. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}
