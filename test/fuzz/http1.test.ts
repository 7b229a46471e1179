/** HTTP/1.1 by hand, on the second port: requests that proxies and servers have read differently, floods, and clients that dawdle. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { RawConnection } from "../support/fuzz-frames.js";
import { type FuzzWorld, openFuzzWorld, requestSeconds } from "../support/fuzz-world.js";

const call = "/frostline.v1.ShareService/ListShares";
const answerMs = 10_000;

let world: FuzzWorld;
beforeAll(async () => {
  world = await openFuzzWorld();
});
afterAll(() => world?.close());

const open: RawConnection[] = [];
afterEach(async () => {
  for (const connection of open.splice(0)) connection.destroy();
  await world.assertServing();
});

async function connect(): Promise<RawConnection> {
  const connection = await RawConnection.open(new URL(world.httpUrl).host);
  open.push(connection);
  return connection;
}

/** Status codes of all that came until the server ended the connection, or `count` answers were there. */
async function answers(connection: RawConnection, count: number): Promise<number[]> {
  const statuses = () => [...connection.received.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
  await expect.poll(() => connection.isClosed || statuses().length >= count, { timeout: answerMs }).toBe(true);
  return statuses();
}

const post = (headers: string, body = "{}", path = call) =>
  `POST ${path} HTTP/1.1\r\nHost: server\r\nAuthorization: Bearer ${world.server.keys.admin}\r\nContent-Type: application/json\r\n${headers}\r\n${body}`;

describe("requests that are none, or more than one", () => {
  test.each<[string, number[], () => string]>([
    ["a good one", [200], () => post("Content-Length: 2\r\n")],
    ["two lengths", [400], () => post("Content-Length: 2\r\nContent-Length: 3\r\n")],
    ["two lengths in one header", [400], () => post("Content-Length: 2, 2\r\n")],
    [
      "a length and chunks",
      [400],
      () => post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    ],
    ["a length below zero", [400], () => post("Content-Length: -1\r\n")],
    ["a length beyond 64 bits", [400], () => post("Content-Length: 99999999999999999999\r\n")],
    ["a length in hex", [400], () => post("Content-Length: 0x2\r\n")],
    ["chunks, encoded twice", [400], () => post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")],
    ["an encoding that is not chunked", [400], () => post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")],
    ["a chunk's size beyond 64 bits", [400], () => post("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\nx")],
    ["a chunk's size below zero", [400], () => post("Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n")],
    ["a chunk's extension of 100 KB", [413], () => post("Transfer-Encoding: chunked\r\n", `2;${"x".repeat(100_000)}\r\n{}\r\n0\r\n\r\n`)],
    ["a chunk longer than it says", [400], () => post("Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n")],
    ["trailers", [200], () => post("Transfer-Encoding: chunked\r\nTrailer: x\r\n", "2\r\n{}\r\n0\r\nauthorization: Bearer x\r\n\r\n")],
    ["a folded header", [400], () => post("X-A: 1\r\n\tfolded: 2\r\nContent-Length: 2\r\n")],
    ["a space before the colon", [400], () => post("Content-Length : 2\r\n")],
    ["NUL in a header", [400], () => post("X-A: a\0b\r\nContent-Length: 2\r\n")],
    ["a line that ends without its return", [400], () => "GET /livez HTTP/1.1\nHost: x\n\n"],
    ["headers of 64 KB", [431], () => post(`X-A: ${"x".repeat(64_000)}\r\n`)],
    ["2,000 headers", [431], () => post(Array.from({ length: 2000 }, (_, n) => `X-${n}: 1234567890\r\n`).join(""))],
    ["a path of 64 KB", [431], () => post("", "", `/${"p".repeat(64_000)}`)],
    ["no host", [400], () => "GET /livez HTTP/1.1\r\n\r\n"],
    ["two hosts, of which neither is used", [200], () => `GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`],
    [
      "a call without a host, of HTTP/1.0",
      [400],
      () => `POST ${call} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    ],
    [
      "a call whose host is none",
      [400],
      () => `POST ${call} HTTP/1.1\r\nHost: [\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    ],
    [
      "a call whose host has a space",
      [400],
      () => `POST ${call} HTTP/1.1\r\nHost: a b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    ],
    ["HTTP/2's preface", [400], () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
    ["HTTP/9.9", [400], () => "GET /livez HTTP/9.9\r\nHost: x\r\n\r\n"],
    ["a method that is none", [400], () => "get /livez HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["bytes", [400], () => "\x16\x03\x01\x00\xc8\x01\x00\x00\xc4"],
    ["TRACE", [404], () => `TRACE / HTTP/1.1\r\nHost: x\r\n\r\n`],
    ["a call by GET", [405], () => `GET ${call}?encoding=json&message=%7B%7D HTTP/1.1\r\nHost: x\r\nConnect-Protocol-Version: 1\r\n\r\n`],
    ["a path above the root", [404], () => "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a path of escapes", [404], () => "GET /%2e%2e/%00%ff HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["the path of another server", [404], () => "GET http://elsewhere.example.com/livez HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a query that is no query", [200], () => "GET /livez?%%%&&== HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["HEAD of a probe", [404], () => "HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["a body that nobody expects", [200], () => "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"],
    ["an upgrade", [200], () => "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"],
    [
      "an upgrade to HTTP/2",
      [200],
      () =>
        "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    ],
    ["an expectation that nobody meets", [417], () => post("Expect: a miracle\r\nContent-Length: 2\r\n")],
  ])("%s", async (_, expected, bytes) => {
    const connection = await connect();
    await connection.send(Buffer.from(bytes(), "latin1"));
    expect((await answers(connection, 1)).slice(0, 1)).toEqual(expected);
  });

  test("a body that ends before its length is refused", async () => {
    const connection = await connect();
    await connection.send(Buffer.from(post("Content-Length: 2\r\n", "{")));
    connection.socket.end();
    expect(await answers(connection, 1)).toEqual([400]);
  });

  test("CONNECT ends the connection", async () => {
    const connection = await connect();
    await connection.send(Buffer.from("CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\n\r\n"));
    await connection.closed;
    expect(connection.received.toString()).not.toMatch(/ 200 /);
  });
});

test("1,000 requests in one piece get 1,000 answers, in order", async () => {
  const connection = await connect();
  await connection.send(Buffer.from("GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500)));
  const statuses = await answers(connection, 1000);
  expect(statuses).toEqual(Array.from({ length: 1000 }, (_, n) => (n % 2 === 0 ? 200 : 404)));
});

test("requests in one piece, whose answers nobody reads, hold up nobody else", async () => {
  const before = (await world.memory()).resident;
  for (let n = 0; n < 10; n++) {
    const connection = await connect();
    connection.socket.pause();
    connection.socket.write(Buffer.from("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000)));
  }
  for (let n = 0; n < 5; n++) expect((await fetch(`${world.httpUrl}/livez`, { signal: AbortSignal.timeout(5000) })).status).toBe(200);
  expect((await world.memory()).resident - before).toBeLessThan(300 * 1024 * 1024);
});

describe("clients that dawdle", () => {
  test("headers that come drop by drop end with 408", async () => {
    const connection = await connect();
    const timer = setInterval(() => void connection.send(Buffer.from("X-A: 1\r\n")), 300);
    await connection.send(Buffer.from("GET /livez HTTP/1.1\r\nHost: x\r\n"));
    await expect
      .poll(() => connection.isClosed, { timeout: (requestSeconds + 15) * 1000 })
      .toBe(true)
      .finally(() => clearInterval(timer));
    expect(connection.received.toString()).toMatch(/^HTTP\/1\.1 408 /);
  });

  test("a body that comes drop by drop ends the call in time", async () => {
    const connection = await connect();
    const timer = setInterval(() => void connection.send(Buffer.from(" ")), 300);
    await connection.send(Buffer.from(post("Content-Length: 1000\r\n")));
    expect(await answers(connection, 1).finally(() => clearInterval(timer))).toEqual([504]);
  });

  test("a connection that says nothing is ended", async () => {
    const connection = await connect();
    await expect.poll(() => connection.isClosed, { timeout: (requestSeconds + 15) * 1000 }).toBe(true);
  });
});

test("after all that data is as it must be, and whoever keeps the rules is served", () => world.assertSound());
