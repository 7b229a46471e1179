/** A log that became shorter: lines that are there as before were applied, all others are new, wherever they begin. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type AuditedShare, createAuditedShare, liveFiles, violationsOf } from "./support/audited-share.js";
import { cursorsOf, deliver, scanTree } from "./support/audited-trail.js";
import { startSeconds } from "./support/generated-trail.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";

let server: TestServer;
let scratch: Scratch;
let share: AuditedShare;
let log: string;
beforeAll(async () => {
  server = await startTestServer();
  scratch = await scratchDirectory();
  share = await createAuditedShare(server, server);
  log = path.join(scratch.path, ".lucid_audit/n/2026/09/a.log.active");
  await fs.mkdir(path.dirname(log), { recursive: true });
  const file = { sizeBytes: 1n, mtimeUnix: 1n, atimeUnix: 1n, ctimeUnix: 1n, frn: undefined };
  const names = ["a", "b", "c", "d"];
  await scanTree(share, new Map([["/", new Map(names.map((name) => [name, file]))]]), startSeconds);
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

/** All lines are of one length. */
function read(name: string, seconds: number): string {
  const operation = { action: "FileRead", entryPath: `/${name}` };
  return `${JSON.stringify({ timestamp: (startSeconds + seconds) * 1_000_000, event: { filespaceUuid: "v", nodeId: "n" }, operation })}\n`;
}

const atimes = async () => [...(await liveFiles(share))].map(([at, { atime }]) => `${at} ${atime - startSeconds}`).sort();

test("truncated to its first line and written on: the first is a duplicate, the others are new though they begin at the same bytes", async () => {
  const first = [read("a", 10), read("b", 11), read("c", 12), read("a", 13)];
  await fs.writeFile(log, first.join(""));
  expect((await deliver(share, scratch.path)).counts).toMatchObject({ applied: 4n, duplicate: 0n });

  await fs.writeFile(log, [first[0], read("c", 20), read("d", 21)].join(""));
  expect((await deliver(share, scratch.path)).counts).toMatchObject({ applied: 2n, duplicate: 1n });
  expect(await atimes()).toEqual(["/a 13", "/b 11", "/c 20", "/d 21"]);
  expect((await cursorsOf(share)).map(({ position, generation }) => [Number(position), generation])).toEqual([
    [(first[0] as string).length * 3, 0],
  ]);
});

test("replaced by one that begins with another line: all of it is new, in another generation", async () => {
  await fs.writeFile(log, [read("b", 30), read("c", 31)].join(""));
  expect((await deliver(share, scratch.path)).counts).toMatchObject({ applied: 2n, duplicate: 0n });
  expect(await atimes()).toEqual(["/a 13", "/b 30", "/c 31", "/d 21"]);
  expect((await cursorsOf(share)).map(({ generation }) => generation)).toEqual([1]);
  expect(await violationsOf(server.database)).toEqual([]);
});
