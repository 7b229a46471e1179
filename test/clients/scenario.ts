/** What each client is to do with a share of its own, and what must be in the database afterwards. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { LocalServer } from "../support/server.js";

export interface Scenario {
  server: LocalServer;
  shareName: string;
  /** Of the share. */
  root: string;
  /** Of its audit trail. */
  trail: string;
  logPath: string;
  volumeId: string;
  rule: { name: string; expression: string; targetUri: string };
  /** Empty, for whatever the client needs. */
  scratch: string;
}

/** What the client was told, as it understood it. */
export interface Told {
  cursorPosition: number;
  previewPlanned: number;
  planned: number;
}

export interface ForeignClient {
  name: string;
  /** What it needs and this machine lacks, with the packages that have it; undefined: nothing. */
  missing(): string | undefined;
  run(scenario: Scenario): Promise<Told>;
}

interface TreeFile {
  /** From the share's root. */
  path: string;
  sizeBytes: number;
  atimeUnix: number;
  mtimeUnix: number;
}

const nowUnix = Math.floor(Date.now() / 1000);
const yearSeconds = 365 * 86_400;
const old = { atimeUnix: nowUnix - 2 * yearSeconds, mtimeUnix: nowUnix - 3 * yearSeconds };

/** Most of it is in use, or a plan would have to be confirmed. Names beyond ASCII, a directory whose name continues another's, an empty one, and times before 1970. */
export const tree: readonly TreeFile[] = [
  { path: "/readme.txt", sizeBytes: 12, atimeUnix: nowUnix - 60, mtimeUnix: nowUnix - 120 },
  { path: "/Active/a.mov", sizeBytes: 300_000, atimeUnix: nowUnix - 60, mtimeUnix: nowUnix - 120 },
  { path: "/Active/b.mov", sizeBytes: 0, atimeUnix: nowUnix - 60, mtimeUnix: nowUnix - 120 },
  { path: "/Archive/old.mov", sizeBytes: 70_000, ...old },
  { path: "/Archive/read again.mov", sizeBytes: 5000, ...old },
  { path: "/Archive!/Élan — 東京.mov", sizeBytes: 3, atimeUnix: nowUnix - yearSeconds, mtimeUnix: -86_400 },
  { path: "/Archive/2019/reel/a.mov", sizeBytes: 0, ...old },
];
const emptyDirectory = "/Archive/2020";
export const directories = ["/", "/Active", "/Archive", "/Archive!", "/Archive/2019", "/Archive/2019/reel", emptyDirectory];

/** The audit trail tells of this one. */
export const readAgain = { path: "/Archive/read again.mov", atUnix: nowUnix - 3600 };
export const expression = 'now - last_used > duration("300d") && path.startsWith("/Archive")';
export const plannedPaths = tree.filter(({ path }) => path.startsWith("/Archive") && path !== readAgain.path).map(({ path }) => path);

export async function makeTree(root: string): Promise<void> {
  await fs.mkdir(path.join(root, emptyDirectory), { recursive: true });
  for (const file of tree) {
    await fs.mkdir(path.dirname(path.join(root, file.path)), { recursive: true });
    await fs.writeFile(path.join(root, file.path), Buffer.alloc(file.sizeBytes));
    // As dates: of numbers, Node takes those below 0 for now.
    await fs.utimes(path.join(root, file.path), new Date(file.atimeUnix * 1000), new Date(file.mtimeUnix * 1000));
  }
}

/** A log with a read, and half a line that is still being written. Returns the position after its whole lines. */
export async function makeTrail(trail: string, volumeId: string): Promise<{ logPath: string; end: number }> {
  const logPath = "node-1/2026/11/2026-11-25T00.00.00Z.log";
  const line = (entryPath: string) =>
    JSON.stringify({
      timestamp: readAgain.atUnix * 1_000_000,
      user: { name: "ben@example.com" },
      device: { hostName: "ben-studio" },
      event: { nodeId: "node-1", filespaceUuid: volumeId },
      operation: { action: "FileRead", entryPath },
    });
  const whole = `${line(readAgain.path)}\n`;
  await fs.mkdir(path.dirname(path.join(trail, logPath)), { recursive: true });
  await fs.writeFile(path.join(trail, `${logPath}.active`), `${whole}${line("/readme.txt").slice(0, 40)}`);
  return { logPath, end: Buffer.byteLength(whole) };
}
