/** Requests to receivers, against real servers on 127.0.0.1 and names that a test resolves. */
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as net from "node:net";
import { afterEach, expect, test } from "vitest";
import { type Receiver, startReceiver } from "../../test/support/webhook-receiver.js";
import { addressPolicy } from "./addresses.js";
import { post, type Resolve } from "./post.js";

const never = new AbortController().signal;
const loopback = addressPolicy(["127.0.0.1/32"]);
const strict = addressPolicy([]);
const ends: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function receiver(...given: Parameters<typeof startReceiver>): Promise<Receiver> {
  const started = await startReceiver(...given);
  ends.push(started.close);
  return started;
}

/** Leads names to addresses, one after the other; the last one stays. */
function leadingTo(...addresses: string[][]): { resolve: Resolve; asked: () => number } {
  let asked = 0;
  const resolve: Resolve = (_, __, callback) => {
    const found = addresses[Math.min(asked, addresses.length - 1)] as string[];
    asked += 1;
    callback(
      null,
      found.map((address) => ({ address, family: net.isIP(address) })),
    );
  };
  return { resolve, asked: () => asked };
}

test("a name is judged by what it leads to at the connection, each time", async () => {
  const { port, ca, received } = await receiver();
  const url = `https://localhost:${port}/hook`;
  const names = leadingTo(["127.0.0.1"], ["127.0.0.2"], ["10.0.0.1", "::1"], ["127.0.0.2", "127.0.0.1"]);
  const send = () => post(url, {}, "{}", { policy: loopback, ca, resolve: names.resolve }, never);
  expect(await send()).toMatchObject({ status: 204 });
  // Now it leads elsewhere: nothing is connected to.
  const refused = { error: expect.stringContaining("The name leads to an address that is refused") };
  expect(await send()).toEqual(refused);
  expect(await send()).toEqual(refused);
  expect(received).toHaveLength(1);
  // Of several, those that are allowed.
  expect(await send()).toMatchObject({ status: 204 });
  expect(names.asked()).toBe(4);
});

test("without being allowed, loopback gets no connection: by number, by name, without TLS", async () => {
  let connections = 0;
  const server = http.createServer((_, response) => void response.end()).on("connection", () => connections++);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(async () => server.close());
  const { port } = server.address() as AddressInfo;
  const { resolve } = leadingTo(["127.0.0.1"]);
  for (const host of ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "rebind.example.com"]) {
    for (const scheme of ["http", "https"]) {
      const answer = await post(`${scheme}://${host}:${port}/`, {}, "{}", { policy: strict, resolve }, never);
      expect(answer, `${scheme} ${host}`).toEqual({ error: expect.stringContaining("refused") });
      // Nor do the words say where the name leads.
      expect(JSON.stringify(answer)).not.toContain("127.0.0.1");
    }
  }
  expect(connections).toBe(0);
  expect(await post(`http://127.0.0.1:${port}/`, {}, "{}", { policy: loopback }, never)).toMatchObject({ status: 200 });
});

test("a certificate must be of a known authority", async () => {
  const { url } = await receiver();
  expect(await post(url, {}, "{}", { policy: loopback }, never)).toEqual({ error: expect.stringMatching(/^TLS failed \([A-Z_]+\)\.$/) });
});

test("an endless answer is cut off, its status counts, and retry-after is read", async () => {
  let closed = false;
  const { url, ca } = await receiver((_, response) => {
    response.writeHead(429, { "retry-after": "120" });
    const more = () => {
      if (!closed) response.write(Buffer.alloc(8192), more);
    };
    response.on("close", () => {
      closed = true;
    });
    more();
  });
  expect(await post(url, {}, "{}", { policy: loopback, ca }, never)).toEqual({ status: 429, retryAfterSeconds: 120 });
});

test("whatever hangs hangs for the time of a request: the look-up, the connection, TLS, the answer, its headers; of a body that hangs the status counts", async () => {
  const stop = new AbortController();
  const drip = (socket: net.Socket, text: string) => {
    const timer = setInterval(() => socket.write(text), 10);
    socket.on("close", () => clearInterval(timer));
  };
  const { url, ca, port } = await receiver(({ path }, response) => {
    if (path === "/headers") drip(response.socket as net.Socket, "HTTP/1.1 100 Continue\r\n\r\n");
    if (path === "/header") drip(response.socket as net.Socket, "HTTP/1.1");
    if (path === "/body") response.writeHead(200).write("begun");
    if (path === "/reset") response.socket?.destroy();
  });
  const silent = net.createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  await once(silent, "listening");
  ends.push(async () => silent.close());
  const send = (target: string, resolve?: Resolve) =>
    post(target, {}, "{}", { policy: loopback, ca, timeoutMs: 400, ...(resolve && { resolve }) }, stop.signal);
  const beganMs = performance.now();
  const answers = await Promise.all([
    send(`https://hangs.example.com:${port}/hook`, () => {}),
    send(`https://127.0.0.1:${(silent.address() as AddressInfo).port}/`),
    send(url),
    send(url.replace("/hook", "/headers")),
    send(url.replace("/hook", "/body")),
    send(url.replace("/hook", "/reset")),
    send(url.replace("/hook", "/header")),
  ]);
  expect(performance.now() - beganMs).toBeLessThan(5000);
  const late = { error: "No answer came within 0.4 s." };
  expect(answers.slice(0, 4)).toEqual([late, late, late, late]);
  expect(answers[4]).toEqual({ status: 200, retryAfterSeconds: undefined });
  expect(answers[5]).toEqual({ error: "The request failed (ECONNRESET)." });
  expect(answers[6]).toEqual({ error: expect.stringMatching(/^The request failed/) });
});

test("an abort, a closed port and a name that is none are told in words", async () => {
  const { url, ca, until } = await receiver(() => {});
  const stop = new AbortController();
  const hanging = post(url, {}, "{}", { policy: loopback, ca }, stop.signal);
  await until((received) => received.length === 1);
  stop.abort();
  expect(await hanging).toEqual({ error: expect.stringMatching(/^The request failed/) });

  const free = net.createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  const { port } = free.address() as AddressInfo;
  free.close();
  await once(free, "close");
  expect(await post(`https://127.0.0.1:${port}/`, {}, "{}", { policy: loopback }, never)).toEqual({
    error: "The request failed (ECONNREFUSED).",
  });
  const unknown: Resolve = (_, __, callback) => callback(Object.assign(new Error("getaddrinfo"), { code: "ENOTFOUND" }), []);
  expect(await post("https://no.example.com/", {}, "{}", { policy: strict, resolve: unknown }, never)).toEqual({
    error: "The name could not be looked up (ENOTFOUND).",
  });
});
