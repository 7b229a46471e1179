import { once } from "node:events";
import { connect, createServer, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { setImmediate as nextRound } from "node:timers/promises";
import { expect, test } from "vitest";
import { createLogger } from "../log.js";
import { Connections } from "./connections.js";

test("a connection that broke a moment ago is not pinged: that would end the process", async () => {
  const limits = { keepaliveMs: 20, maxAgeMs: 60_000, idleMs: 60_000, unknownMs: 60_000, unknownPerAddress: 10 };
  const connections = new Connections(limits, createLogger("silent"));
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  client.on("error", () => {});
  const [session] = (await once(server, "session")) as [ServerHttp2Session];
  connections.add(session);
  const pinged: { destroyed: boolean }[] = [];
  const first = new Promise<void>((resolve) => {
    session.ping = (answered: unknown) => {
      pinged.push({ destroyed: session.destroyed });
      (answered as (error: Error | null) => void)(null);
      resolve();
      return true;
    };
  });
  await first;
  // Out of the callback of the timer that pings.
  await nextRound();
  const closed = once(session, "close");
  // Both timers are over when their turn comes, this one first; that the session has closed is told in a later phase.
  setTimeout(() => session.destroy(), 1);
  const untilMs = performance.now() + 50;
  while (performance.now() < untilMs);
  await closed;
  expect(pinged.filter(({ destroyed }) => destroyed)).toEqual([]);
  expect(connections.size).toBe(0);
  connections.destroy();
  client.destroy();
  server.close();
});
