/** Thousands of connections on which nothing is ever said: whoever comes from another address is served, at each port. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as tls from "node:tls";
import { afterEach, expect, test } from "vitest";
import { createClient } from "../../src/agent/client.js";
import { ShareService } from "../../src/gen/frostline/v1/share_pb.js";
import { issue } from "../support/certificates.js";
import { RawConnection } from "../support/fuzz-frames.js";
import { scratchDirectory } from "../support/scratch.js";
import { type LocalServer, startTestServer } from "../support/server.js";

const connections = 2000;
const atOnce = 100;
/** Another address than the tests', on the same machine. */
const elsewhere = "127.0.0.2";
const servedMs = 5000;
/** FROSTLINE_UNKNOWN_CONNECTIONS, as it is when it is not set. */
const unknownAtMost = 100;

const idle: RawConnection[] = [];
afterEach(() => {
  for (const connection of idle.splice(0)) connection.destroy();
});

/** As many as the server takes; few of them may stay. */
async function occupy(address: string): Promise<void> {
  // No more at once than wait to be accepted.
  for (let opened = 0; opened < connections; opened += atOnce) {
    const attempts = Array.from({ length: atOnce }, () => RawConnection.open(address, elsewhere));
    for (const attempt of await Promise.allSettled(attempts)) if (attempt.status === "fulfilled") idle.push(attempt.value);
  }
  const open = () => idle.filter(({ isClosed }) => !isClosed).length;
  await expect.poll(open, { timeout: servedMs }).toBeLessThanOrEqual(unknownAtMost);
}

test.each([
  ["the main port", (server: LocalServer) => server.address],
  ["the HTTP port", (server: LocalServer) => new URL(server.httpUrl).host],
])("%s", async (_, addressOf) => {
  const server = await startTestServer({ env: { FROSTLINE_HTTP_LISTEN: "127.0.0.1:0", FROSTLINE_REQUEST_SECONDS: "3600" } });
  await occupy(addressOf(server));
  const client = createClient({ server: server.address, key: server.keys.admin });
  await client.unary(ShareService.method.listShares, {}, { timeoutMs: servedMs });
  client.close();
  expect((await fetch(`${server.httpUrl}/readyz`, { signal: AbortSignal.timeout(servedMs) })).status).toBe(200);
  for (const connection of idle) connection.destroy();
  await server.close();
});

test("the main port with TLS, before any handshake has begun", async () => {
  const scratch = await scratchDirectory();
  const own = issue("server", { issuer: issue("authority") });
  const write = async (name: string, pem: string) => {
    await fs.writeFile(path.join(scratch.path, name), pem);
    return path.join(scratch.path, name);
  };
  const env = { FROSTLINE_TLS_CERT: await write("server.crt", own.cert), FROSTLINE_TLS_KEY: await write("server.key", own.key) };
  const server = await startTestServer({ env });
  const { hostname: host, port } = new URL(server.address);
  await occupy(`${host}:${port}`);
  const greeted = new Promise((resolve, reject) => {
    const socket = tls.connect({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"], timeout: servedMs });
    socket.once("secureConnect", () => resolve(socket.alpnProtocol));
    socket.once("timeout", () => reject(new Error("no handshake in time")));
    socket.once("error", reject);
    idle.push(new RawConnection(socket));
  });
  expect(await greeted).toBe("h2");
  for (const connection of idle) connection.destroy();
  await server.close();
  await scratch.remove();
});
