/** A TCP load balancer: one address, behind which servers change. */
import { once } from "node:events";
import * as net from "node:net";

export interface Balancer {
  /** host:port */
  address: string;
  /** New connections go there from now on; those that stand go on as they are. */
  switchTo(server: string): void;
  /** From now on a connection brings the server so many bytes and no more, and stays open; undefined: all of them. */
  passAtMost(bytes: number | undefined): void;
  close(): Promise<void>;
}

export async function startBalancer(server: string): Promise<Balancer> {
  let target = server;
  let bytesAtMost = Number.POSITIVE_INFINITY;
  const sockets = new Set<net.Socket>();
  const balancer = net.createServer((client) => {
    const [, host, port] = /^(.*):(\d+)$/.exec(target) ?? [];
    const behind = net.connect(Number(port), host);
    let left = bytesAtMost;
    client.on("data", (data: Buffer) => {
      // What is beyond is lost: the connection never gets further.
      const passed = data.subarray(0, left);
      left -= passed.length;
      if (!behind.write(passed)) client.pause();
      if (left === 0) client.pause();
    });
    behind.on("drain", () => left > 0 && client.resume());
    behind.pipe(client);
    for (const [one, other] of [
      [client, behind],
      [behind, client],
    ] as const) {
      sockets.add(one);
      // Whichever end goes, for whatever reason, takes the other along.
      one.on("error", () => {});
      one.on("close", () => {
        sockets.delete(one);
        other.destroy();
      });
    }
  });
  balancer.listen(0, "127.0.0.1");
  await once(balancer, "listening");
  return {
    address: `127.0.0.1:${(balancer.address() as net.AddressInfo).port}`,
    switchTo(next) {
      target = next;
    },
    passAtMost(bytes) {
      bytesAtMost = bytes ?? Number.POSITIVE_INFINITY;
    },
    async close() {
      const closed = once(balancer, "close");
      balancer.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
