import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ScanServer, startScanServer } from "../../test/support/scan-server.js";
import { type Chunk, ChunkSchema, ScanMode, ScanService, ScanStatus } from "../gen/frostline/v1/scan_pb.js";
import { type Client, createClient } from "./client.js";
import { type RunScanOptions, runScan, type ScanProgress } from "./push.js";
import { RpcError } from "./rpc-error.js";

let server: ScanServer;
let client: Client;
beforeEach(async () => {
  server = await startScanServer();
  client = createClient({ server: server.address, key: "fl_secret" });
});
afterEach(() => {
  client.close();
  server.stop();
});

const directories = ["/", "/a", "/b", "/c", "/d", "/e", "/f", "/g"];
/** One directory a chunk; the token is its path. */
async function* source(resumeAfter: Uint8Array | undefined): AsyncGenerator<Chunk> {
  const after = resumeAfter === undefined ? -1 : directories.indexOf(Buffer.from(resumeAfter).toString());
  for (const path of directories.slice(after + 1)) yield chunkOf(path);
}

function chunkOf(path: string): Chunk {
  const files = [{ name: Buffer.from("x"), sizeBytes: 10n }];
  return create(ChunkSchema, { resumeToken: Buffer.from(path), directories: [{ path: Buffer.from(path), files, complete: true }] });
}

const options: RunScanOptions = {
  shareName: "s",
  mode: ScanMode.FULL,
  uniqueFrn: false,
  exactListTimes: true,
  source,
  resume: "auto",
  retry: { baseDelayMs: 1, maxDelayMs: 5, maxElapsedMs: 10_000 },
};
const committed = () => server.committed.map((chunk) => Buffer.from(chunk.directories[0]?.path ?? "").toString());

describe("a scan without mishap", () => {
  test("is started, pushed in one stream, finished, and its problems read", async () => {
    const seen: ScanProgress[] = [];
    const result = await runScan(client, { ...options, onProgress: (progress) => seen.push(progress) });
    expect(committed()).toEqual(directories);
    expect(result.scan).toMatchObject({ scanId: 1n, status: ScanStatus.WARN });
    expect(result.problems).toMatchObject([{ name: "x", reason: "bad" }]);
    expect(result.stats).toEqual({ resumed: false, reconnects: 0, chunks: 8 });
    expect(server.calls).toEqual(["StartScan", "PushScan", "GetScan", "FinishScan", "ListScanProblems"]);
    expect(server.authorization).toBe("Bearer fl_secret");
    expect(seen.at(-1)).toEqual({ state: "finishing", directories: 8, files: 8, bytes: 80n, chunks: 8 });
  });
});

describe("lost connections", () => {
  test("the stream is made again from the server's position, as often as it breaks", async () => {
    server.pushFailures.push(
      { code: "UNAVAILABLE", afterChunks: 3 },
      { code: "INTERNAL", afterChunks: 0 },
      { code: "RESOURCE_EXHAUSTED", reason: "BUSY", retryDelayMs: 2, afterChunks: 2 },
      { code: "CANCELLED", afterChunks: 1 },
    );
    const states = new Set<string>();
    const result = await runScan(client, { ...options, onProgress: ({ state }) => states.add(state) });
    expect(committed()).toEqual(directories);
    expect(result.stats).toMatchObject({ reconnects: 4, chunks: 8 });
    expect(states).toContain("reconnecting");
  });

  test("chunks that were still being committed when the position was asked for are not mistaken for repeats", async () => {
    server.pushFailures.push({ code: "UNAVAILABLE", afterChunks: 2 });
    let opened = 0;
    server.onOpen = () => {
      // The old stream's last segment, with other boundaries than the new one would choose.
      if (++opened === 2)
        server.committed.push({
          ...chunkOf("/b"),
          directories: ["/b", "/c"].flatMap((path) => chunkOf(path).directories),
          resumeToken: Buffer.from("/c"),
        });
    };
    const { stats } = await runScan(client, options);
    expect(opened).toBe(3);
    expect(stats.reconnects).toBe(2);
    expect(server.committed.flatMap((chunk) => chunk.directories.map(({ path }) => Buffer.from(path).toString()))).toEqual(directories);
  });

  test("a scan just started, in which another agent was faster, goes on from there", async () => {
    let opened = 0;
    server.onOpen = () => {
      if (++opened === 1) server.committed.push(chunkOf("/"));
    };
    await runScan(client, options);
    expect(committed()).toEqual(directories);
  });

  test("lost answers of every call are asked for again", async () => {
    server.failures = {
      StartScan: [{ code: "UNAVAILABLE", after: true }],
      GetScan: [{ code: "UNAVAILABLE" }, { code: "DEADLINE_EXCEEDED" }],
      FinishScan: [{ code: "UNAVAILABLE" }, { code: "UNKNOWN", after: true }],
      ListScanProblems: [{ code: "UNAVAILABLE", reason: "DATABASE_UNAVAILABLE", retryDelayMs: 1 }],
    };
    const result = await runScan(client, options);
    expect(committed()).toEqual(directories);
    expect(result.scan.scanId).toBe(1n);
    expect(result.stats.resumed).toBe(true);
  });

  test("without progress it gives up, with the last error", async () => {
    server.pushFailures.push(
      ...Array.from({ length: 1000 }, () => ({ code: "UNAVAILABLE" as const, message: "down again", afterChunks: 0 })),
    );
    await expect(runScan(client, { ...options, retry: { baseDelayMs: 1, maxDelayMs: 5, maxElapsedMs: 100 } })).rejects.toThrow(
      "down again",
    );
    expect(server.scan?.status).toBe(ScanStatus.RUNNING);
  });

  test("a server that nobody runs: the error says so", async () => {
    server.stop();
    const error = await runScan(client, { ...options, retry: { maxElapsedMs: 50 } }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "UNAVAILABLE", reason: "" });
  });
});

describe("an unfinished scan of the share", () => {
  beforeEach(() => {
    server.scan = { scanId: 7n, status: ScanStatus.RUNNING, shareName: "s", mode: ScanMode.FULL, exactListTimes: true };
    server.committed = ["/", "/a"].map(chunkOf);
  });

  test("is resumed", async () => {
    const result = await runScan(client, options);
    expect(committed()).toEqual(directories);
    expect(result).toMatchObject({ scan: { scanId: 7n }, stats: { resumed: true, chunks: 8 } });
  });

  test("is finished when all that is missing is its end", async () => {
    server.scan = { ...server.scan, finishing: true };
    const result = await runScan(client, {
      ...options,
      source: () => {
        throw new Error("not to be read");
      },
    });
    expect(result.scan).toMatchObject({ scanId: 7n, status: ScanStatus.WARN });
    expect(server.calls).not.toContain("PushScan");
  });

  test("is abandoned when asked", async () => {
    const result = await runScan(client, { ...options, resume: "restart" });
    expect(committed()).toEqual(directories);
    expect(result.scan.scanId).toBe(8n);
    expect(server.calls.slice(0, 3)).toEqual(["StartScan", "AbortScan", "StartScan"]);
  });

  test("is left alone when it claims something else", async () => {
    await expect(runScan(client, { ...options, mode: ScanMode.PARTIAL })).rejects.toThrow(/unfinished scan 7, with mode FULL.*--restart/);
    await expect(runScan(client, { ...options, uniqueFrn: true })).rejects.toThrow(/other claims about file reference numbers/);
    expect(committed()).toEqual(["/", "/a"]);
  });
});

describe("what is final", () => {
  test.each([
    [{ code: "ABORTED", reason: "WRITER_FENCED" }, /Another agent has taken over scan 1/],
    [{ code: "FAILED_PRECONDITION", reason: "BRAKE_HOLDS", message: "Too many." }, /Too many\. To confirm: frostline confirm 1/],
    [{ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_PROBLEMS", retryDelayMs: 1 }, /RESOURCE_EXHAUSTED/],
    [{ code: "PERMISSION_DENIED", reason: "SCOPE_MISSING" }, /PERMISSION_DENIED/],
  ] as const)("%o", async (failure, message) => {
    server.pushFailures.push({ ...failure, afterChunks: 2 });
    const error = await runScan(client, options).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({ code: failure.code, reason: failure.reason, message: expect.stringMatching(message) });
    expect(server.calls.filter((name) => name === "PushScan")).toHaveLength(1);
  });

  test("a gap is asked about once", async () => {
    server.pushFailures.push({ code: "OUT_OF_RANGE", reason: "CHUNK_GAP", afterChunks: 2 });
    await runScan(client, options);
    expect(committed()).toEqual(directories);

    server.pushFailures.push(...[0, 0, 0].map((afterChunks) => ({ code: "OUT_OF_RANGE" as const, reason: "CHUNK_GAP", afterChunks })));
    await expect(runScan(client, options)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
    expect(server.pushFailures).toHaveLength(1);
  });

  test("chunks that another agent committed after the last of this one: what it sent may not be all", async () => {
    const onProgress = ({ state }: ScanProgress) => {
      if (state === "finishing") server.committed.push(chunkOf("/from another agent"));
    };
    await expect(runScan(client, { ...options, onProgress })).rejects.toThrow(/written to by another agent/);
    expect(server.calls).not.toContain("FinishScan");
  });

  test("the source's error ends the run and leaves the scan to be resumed", async () => {
    async function* broken(): AsyncGenerator<Chunk> {
      yield chunkOf("/");
      throw new Error("the disk is on fire");
    }
    await expect(runScan(client, { ...options, source: broken })).rejects.toThrow("the disk is on fire");
    expect(server.scan?.status).toBe(ScanStatus.RUNNING);
  });

  test("an abort ends it with the signal's reason, wherever it is", async () => {
    const controller = new AbortController();
    async function* endless(): AsyncGenerator<Chunk> {
      for (let i = 0; ; i++) {
        if (i === 20) controller.abort(new Error("stopped by hand"));
        yield chunkOf(`/${i}`);
      }
    }
    await expect(runScan(client, { ...options, source: endless, signal: controller.signal })).rejects.toThrow("stopped by hand");
  });
});

describe("the client", () => {
  test("decodes the details of an error", async () => {
    server.failures.GetScan = [
      { code: "NOT_FOUND", message: "There is no scan 5.", reason: "SCAN_NOT_FOUND", metadata: { scan_id: "5" }, retryDelayMs: 1250 },
    ];
    const error = await client.unary(ScanService.method.getScan, { scanId: 5n }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RpcError);
    expect(error).toMatchObject({
      code: "NOT_FOUND",
      message: "There is no scan 5.",
      reason: "SCAN_NOT_FOUND",
      metadata: { scan_id: "5" },
      retryDelayMs: 1250,
    });
  });

  test("a call on a stream that has failed rejects with the status", async () => {
    server.pushFailures.push({ code: "UNAVAILABLE", afterChunks: 0 });
    const stream = client.clientStream(ScanService.method.pushScan);
    const sending = (async () => {
      for (;;) await stream.send({ message: { case: "chunk", value: chunkOf("/") } });
    })();
    await expect(sending).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await expect(stream.finish()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  test("sending waits for a server that does not read", async () => {
    let release: () => void = () => {};
    server.onOpen = () => new Promise((resolve) => (release = resolve));
    const stream = client.clientStream(ScanService.method.pushScan);
    const token = Buffer.alloc(256 * 1024);
    const total = 200;
    let sent = 0;
    const sending = (async () => {
      await stream.send({ message: { case: "open", value: { scanId: 1n, writer: "main" } } });
      for (; sent < total; sent++) await stream.send({ message: { case: "chunk", value: { chunkNo: BigInt(sent), resumeToken: token } } });
    })();
    // Time for 50 MB to pass on the same connection, if nothing held them back.
    for (let i = 0; i < 200; i++) await client.unary(ScanService.method.getScan, { scanId: 1n });
    expect(sent).toBeLessThan(20);
    release();
    await sending;
    expect(await stream.finish()).toMatchObject({ nextChunkNo: BigInt(total) });
  });
});
