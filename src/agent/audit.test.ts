import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type AuditServer, startAuditServer } from "../../test/support/audit-server.js";
import { seededRandom } from "../../test/support/random.js";
import { type Scratch, scratchDirectory } from "../../test/support/scratch.js";
import { type AuditProgress, type AuditResult, type RunAuditOptions, runAudit } from "./audit.js";
import { auditCounters } from "./audit-counts.js";
import { type Client, createClient } from "./client.js";

/** Paths that can't be opened, and how often still. */
const failing = vi.hoisted(() => new Map<string, number>());
vi.mock("node:fs/promises", async (original) => {
  const actual = await original<typeof import("node:fs/promises")>();
  const open: typeof actual.open = (file, ...rest) => {
    const left = failing.get(String(file)) ?? 0;
    if (left === 0) return actual.open(file, ...rest);
    failing.set(String(file), left - 1);
    return Promise.reject(Object.assign(new Error(`EIO: i/o error, open '${file}'`), { code: "EIO", syscall: "open" }));
  };
  return { ...actual, open };
});

const samples = new URL("../../test/samples/lucid-audit/", import.meta.url);
const sampleNode = "6f1d2c3e-0000-4000-8000-000000000a01/2026/09";
const volume = "0b9e7a10-0000-4000-8000-0000000000f5";

let server: AuditServer;
let client: Client;
let scratch: Scratch;
beforeEach(async () => {
  failing.clear();
  scratch = await scratchDirectory();
  server = await startAuditServer();
  client = createClient({ server: server.address, key: "fl_secret" });
});
afterEach(async () => {
  client.close();
  server.stop();
  await scratch.remove();
});

function run(options: Partial<RunAuditOptions> = {}): Promise<AuditResult> {
  const retry = { baseDelayMs: 1, maxDelayMs: 5, maxElapsedMs: 10_000 };
  return runAudit(client, { shareName: "s", dir: scratch.path, follow: false, pollIntervalMs: 5, retry, ...options });
}

/** Follows until `done` is true after a round, or what came is not expected. */
async function follow(
  step: (round: AuditResult, count: number) => Promise<boolean>,
  options: Partial<RunAuditOptions> = {},
): Promise<AuditResult> {
  const stop = new AbortController();
  let count = 0;
  const onRound = async (round: AuditResult) => {
    if (await step(round, ++count)) stop.abort(new Error("enough"));
  };
  return run({ follow: true, onRound, signal: stop.signal, ...options });
}

let clock = 1_790_187_300_000_000;
function line(text: string, filespaceUuid = volume): string {
  clock += 1000;
  return `${JSON.stringify({ timestamp: clock, event: { nodeId: "n", filespaceUuid }, operation: { action: "FileRead", entryPath: `/${text}` } })}\n`;
}

/** Appends; the directory is made when it is missing. */
async function append(name: string, text: string): Promise<void> {
  const file = path.join(scratch.path, name);
  await fs.mkdir(path.dirname(file), { recursive: true });
  await fs.appendFile(file, text);
}

const paths = () => server.taken.map(({ event }) => event.path || event.refusedReason);
const sum = (result: AuditResult) => auditCounters.reduce((total, counter) => total + Number(result.counts[counter]), 0);
const totalOf = ({ counts }: AuditResult) => Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0n));

describe("the sample trail", () => {
  beforeEach(() => fs.cp(samples, scratch.path, { recursive: true }));

  test("twelve lines, one refused; the cursors stand after the last whole lines", async () => {
    const refused: unknown[] = [];
    const result = await run({ onRefused: (line) => refused.push(line) });
    expect(totalOf(result)).toEqual({ applied: 11n, refused: 1n });
    expect(result).toMatchObject({ unreported: 0, problems: [] });
    expect(server.volumeIds).toEqual([volume]);
    const open = `${sampleNode}/2026-09-23T18.30.00Z.log`;
    const bytes = await fs.readFile(path.join(scratch.path, `${open}.active`));
    expect([...server.cursors].map(([name, { position }]) => [name, Number(position)])).toEqual([
      [`${sampleNode}/2026-09-23T18.15.00Z.log`, 2083],
      [open, bytes.lastIndexOf(10) + 1],
    ]);
    expect(refused).toEqual([{ auditFilePath: `${sampleNode}/2026-09-23T18.15.00Z.log`, offset: 1593, reason: "the line is not JSON" }]);
    expect(result.progress).toMatchObject({
      files: 2,
      lines: 12,
      positionBytes: 2083 + bytes.lastIndexOf(10) + 1,
      lagBytes: bytes.length - bytes.lastIndexOf(10) - 1,
      newestEventMicros: 1790188249118204n,
    });
  });

  test("run again it sends nothing; the rest of the line and a rotation add one event", async () => {
    await run();
    server.batches = [];
    expect(totalOf(await run())).toEqual({});
    const open = path.join(scratch.path, sampleNode, "2026-09-23T18.30.00Z.log.active");
    await fs.appendFile(open, '{"hostName":"x"},"operation":{"action":"FileRead","entryPath":"/last"}}\n');
    await fs.rename(open, open.slice(0, -".active".length));
    expect(totalOf(await run())).toEqual({ applied: 1n });
    expect(server.batches).toHaveLength(1);
    expect(paths().at(-1)).toBe("/last");
    expect([...server.cursors.values()].map(({ generation }) => generation)).toEqual([1, 1]);
  });
});

test("the trail is found in the filespace's root", async () => {
  await append(".lucid_audit/n/a.log", line("a"));
  await append("other.log", line("b"));
  await run();
  expect(paths()).toEqual(["/a"]);
});

test("an empty trail is no failure, and no call but for the cursors", async () => {
  const result = await run();
  expect(result.progress).toMatchObject({ files: 0, lines: 0 });
  expect(server.calls).toEqual(["ListAuditCursors"]);
});

test("a trail that is not there is", async () => {
  await expect(run({ dir: path.join(scratch.path, "gone") })).rejects.toThrow("ENOENT");
});

test("each node in order, nodes side by side, four at most", async () => {
  const expected = new Map<string, string[]>();
  for (let node = 0; node < 7; node++) {
    const names: string[] = [];
    for (let file = 0; file < 12; file++) {
      const name = `n${node}/2026/${file}/2026-${String(file + 1).padStart(2, "0")}-01T00.00.00Z.log`;
      for (let i = 0; i < 3; i++) names.push(`${node}-${file}-${i}`);
      await append(
        name,
        names
          .slice(-3)
          .map((text) => line(text))
          .join(""),
      );
    }
    expected.set(
      `n${node}`,
      names.map((name) => `/${name}`),
    );
  }
  server.pageSize = 5;
  // Until four are open, none gets on.
  const four = vi.waitFor(() => expect(server.streams.now).toBe(4));
  server.onBatch = async () => void (await four);
  expect(totalOf(await run())).toEqual({ applied: 7n * 12n * 3n });
  expect(server.streams.most).toBe(4);
  for (const [node, names] of expected) {
    expect(server.taken.filter(({ auditFilePath }) => auditFilePath.startsWith(`${node}/`)).map(({ event }) => event.path)).toEqual(names);
  }
  expect(totalOf(await run())).toEqual({});
});

test("events of another filespace in the trail are refused", async () => {
  await append("n/a.log", line("a") + line("b", "another") + line("c"));
  expect(totalOf(await run())).toEqual({ applied: 2n, refused: 1n });
  expect(paths()[1]).toContain("another");
});

test("whose trail it is may be said anywhere in it; when it is said nowhere, nothing is sent", async () => {
  await append("n1/a.log", "no JSON\n");
  const result = await run();
  expect(result.problems).toMatchObject([{ path: path.join(scratch.path, "n1/a.log"), message: expect.stringContaining("filespaceUuid") }]);
  expect(server.calls).not.toContain("PushAudit");
  await append("n2/b.log", `no JSON\n${line("b")}`);
  expect(totalOf(await run())).toEqual({ applied: 1n, refused: 2n });
  expect(new Set(server.volumeIds)).toEqual(new Set([volume]));
  await append("n1/a.log", "no JSON either\n");
  expect(totalOf(await run())).toEqual({ refused: 1n });
});

describe("lost connections", () => {
  test("whenever the stream breaks, each line arrives once, and is counted or known to be unreported", async () => {
    const random = seededRandom();
    let lines = 0;
    for (let file = 0; file < 6; file++) {
      for (let i = 0; i < 3000; i++, lines++) await append(`n${file % 2}/${file}.log`, line(`${file}-${i}`));
    }
    const codes = ["UNAVAILABLE", "INTERNAL", "CANCELLED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"] as const;
    for (let i = 0; i < 12; i++) server.pushFailures.push({ code: random.pick(codes), afterBatches: random.between(0, 5) });
    server.listFailures.push({ code: "UNAVAILABLE" }, { code: "UNAVAILABLE" });
    const states = new Set<string>();
    const result = await run({ onProgress: ({ state }) => states.add(state) });
    expect(new Set(paths()).size).toBe(lines);
    expect(server.taken).toHaveLength(lines);
    expect(sum(result) - Number(result.counts.duplicate) + result.unreported).toBe(lines);
    expect(result.unreported).toBeGreaterThan(0);
    expect(result.progress.lagBytes).toBe(0);
    expect([...states].sort()).toEqual(["reading", "reconnecting", "waiting"]);
  });

  test("without follow it gives up in the end, with the last error", async () => {
    await append("n/a.log", line("a"));
    server.pushFailures.push(
      ...Array.from({ length: 1000 }, () => ({ code: "UNAVAILABLE" as const, message: "down again", afterBatches: 0 })),
    );
    await expect(run({ retry: { baseDelayMs: 1, maxDelayMs: 5, maxElapsedMs: 50 } })).rejects.toThrow("down again");
  });

  test("a final error ends the run, and the other nodes' streams", async () => {
    for (let node = 0; node < 6; node++) await append(`n${node}/a.log`, line("a"));
    server.pushFailures.push({ code: "FAILED_PRECONDITION", reason: "VOLUME_MISMATCH", message: "another volume", afterBatches: 0 });
    await expect(run()).rejects.toMatchObject({ reason: "VOLUME_MISMATCH", message: "another volume" });
    expect(server.streams.now).toBe(0);
  });
});

describe("a cursor that is not where the agent left it", () => {
  test("set back: the agent is told of the gap, and goes on from there", async () => {
    await append("n/a.log", line("a") + line("b"));
    await follow(async (_round, count) => {
      const cursor = server.cursors.get("n/a.log");
      if (count === 1 && cursor !== undefined) {
        cursor.position = 0n;
        await append("n/a.log", line("c"));
      }
      return count === 2;
    });
    expect(paths()).toEqual(["/a", "/b", "/a", "/b", "/c"]);
  });

  test("a server that never accepts where it said to go on is given up", async () => {
    await append("n/a.log", line("a"));
    server.pushFailures.push(
      ...Array.from({ length: 10 }, () => ({ code: "OUT_OF_RANGE" as const, reason: "AUDIT_GAP", afterBatches: 0 })),
    );
    await expect(run()).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    expect(server.pushFailures).toHaveLength(6);
  });

  test("two agents on one trail: each line once", async () => {
    for (let i = 0; i < 5000; i++) await append(`n${i % 3}/a.log`, line(String(i)));
    const results = await Promise.all([run(), run()]);
    expect(server.taken).toHaveLength(5000);
    expect(new Set(paths()).size).toBe(5000);
    const duplicates = results.reduce((total, { counts }) => total + Number(counts.duplicate), 0);
    expect(results.reduce((total, result) => total + sum(result), 0) - duplicates).toBe(5000);
  });
});

describe("following", () => {
  test("growth, rotation, a new file, truncation and replacement", async () => {
    const active = path.join(scratch.path, "n/2026-01.log.active");
    await append("n/2026-01.log.active", `${line("a")}${line("b").slice(0, 20)}`);
    const steps: (() => Promise<void>)[] = [
      // The rest of the partial line makes no JSON: refused, but whole.
      () => append("n/2026-01.log.active", `\n${line("c")}`),
      async () => {
        await fs.appendFile(active, line("d"));
        await fs.rename(active, active.slice(0, -".active".length));
        await append("n/2026-02.log.active", line("e"));
      },
      () => fs.writeFile(path.join(scratch.path, "n/2026-02.log.active"), line("f")),
      async () => {
        await append("new", line("g") + line("h"));
        await fs.rename(path.join(scratch.path, "new"), path.join(scratch.path, "n/2026-02.log.active"));
      },
    ];
    const result = await follow(async (round, count) => {
      expect(round.progress.state).toBe("waiting");
      await steps[count - 1]?.();
      // The second step takes effect in one round or in two.
      return paths().includes("/h");
    });
    expect(paths()).toEqual(["/a", "the line is not JSON", "/c", "/d", "/e", "/f", "/g", "/h"]);
    expect(server.cursors.get("n/2026-02.log")?.generation).toBe(3);
    expect(server.cursors.get("n/2026-01.log")?.generation).toBe(1);
    expect(totalOf(result)).toEqual({ applied: 7n, refused: 1n });
  });

  test("any trail written piece by piece and rotated at random gives every line once, in order", async () => {
    const random = seededRandom();
    const lines = Array.from({ length: 400 }, (_, i) => line(`${i}${"x".repeat(random.between(0, 300))}`));
    const bytes = Buffer.from(lines.join(""));
    let written = 0;
    let file = 0;
    let atLineEnd = true;
    const write = async () => {
      for (let i = 0; i < 5 && written < bytes.length; i++) {
        const piece = bytes.subarray(written, written + random.between(1, 3000));
        await append(`n/${String(file).padStart(4, "0")}.log.active`, piece.toString());
        written += piece.length;
        atLineEnd = piece.at(-1) === 10;
        if (atLineEnd || random.next() < 0.3) {
          const name = path.join(scratch.path, `n/${String(file).padStart(4, "0")}.log`);
          const rest = bytes.subarray(written, bytes.indexOf(10, written) + 1);
          if (!atLineEnd) await fs.appendFile(`${name}.active`, rest);
          if (!atLineEnd) written += rest.length;
          await fs.rename(`${name}.active`, name);
          file++;
        }
      }
    };
    await write();
    await follow(async () => {
      await write();
      return server.taken.length === lines.length;
    });
    expect(paths()).toEqual(lines.map((text) => (JSON.parse(text) as { operation: { entryPath: string } }).operation.entryPath));
    expect(file).toBeGreaterThan(5);
  });

  test("what was sent when it is told to stop is still acknowledged", async () => {
    await append("n/a.log", line("a"));
    await append("n/b.log", line("b"));
    const stop = new AbortController();
    server.onBatch = () => stop.abort(new Error("stopped by hand"));
    const result = await run({ follow: true, signal: stop.signal });
    expect(sum(result)).toBe(server.taken.length);
    expect(sum(result)).toBeGreaterThan(0);
    await expect(run({ signal: stop.signal })).rejects.toThrow("stopped by hand");
  });

  test("a server that is away is waited for, however long", async () => {
    await append("n/a.log", line("a"));
    server.pushFailures.push(...Array.from({ length: 30 }, () => ({ code: "UNAVAILABLE" as const, afterBatches: 0 })));
    await follow(async () => true, { retry: { baseDelayMs: 1, maxDelayMs: 2 } });
    expect(paths()).toEqual(["/a"]);
  });
});

describe("files that can't be read", () => {
  const failingFile = () => path.join(scratch.path, "n1/a.log");
  beforeEach(async () => {
    await append("n1/a.log", line("a"));
    await append("n1/b.log", line("b"));
    await append("n2/c.log", line("c"));
  });

  test("for a while: told of, and what comes after it in its node waits for it", async () => {
    failing.set(failingFile(), 2);
    const problems: number[] = [];
    const result = await run({ onRound: (round) => void problems.push(round.problems.length) });
    expect(paths().filter((name) => name !== "/c")).toEqual(["/a", "/b"]);
    expect(paths()).toContain("/c");
    expect(problems[0]).toBe(1);
    expect(result.problems).toEqual([]);
  });

  test("for longer: the others go on without it", async () => {
    failing.set(failingFile(), 1000);
    const result = await run();
    expect(paths().sort()).toEqual(["/b", "/c"]);
    expect(result.problems).toMatchObject([{ path: failingFile(), message: expect.stringContaining("EIO") }]);
    failing.clear();
    await run();
    expect(paths()).toContain("/a");
  });
});

test("progress: lag falls to nothing, lines and position rise", async () => {
  let written = "";
  for (let i = 0; i < 3000; i++) written += line(String(i));
  await append("n/a.log", written);
  const seen: AuditProgress[] = [];
  await run({ onProgress: (progress) => seen.push(progress) });
  expect(seen[0]).toMatchObject({
    state: "reading",
    files: 1,
    lines: 0,
    positionBytes: 0,
    lagBytes: written.length,
    newestEventMicros: undefined,
  });
  expect(seen.length).toBeGreaterThan(3);
  for (const { positionBytes, lagBytes } of seen) expect(positionBytes + lagBytes).toBe(written.length);
  expect(seen.at(-1)).toMatchObject({ state: "waiting", lines: 3000, lagBytes: 0, newestEventMicros: BigInt(clock) });
  expect(seen.at(-1)?.linesPerSecond).toBeGreaterThan(0);
});
