/** A TCP load balancer: one address, behind which servers change. */
import { once } from "node:events";
import * as net from "node:net";

export interface Balancer {
  /** host:port */
  address: string;
  /** New connections go there from now on; those that stand go on as they are. */
  switchTo(server: string): void;
  close(): Promise<void>;
}

export async function startBalancer(server: string): Promise<Balancer> {
  let target = server;
  const sockets = new Set<net.Socket>();
  const balancer = net.createServer((client) => {
    const [, host, port] = /^(.*):(\d+)$/.exec(target) ?? [];
    const behind = net.connect(Number(port), host);
    for (const [one, other] of [
      [client, behind],
      [behind, client],
    ] as const) {
      sockets.add(one);
      one.pipe(other);
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
    async close() {
      const closed = once(balancer, "close");
      balancer.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
