/** Carries a scan to the server, through lost connections and restarts, exactly once. */
import { type Chunk, type Scan, type ScanMode, type ScanProblem, ScanService, ScanStatus } from "../gen/frostline/v1/scan_pb.js";
import type { Client } from "./client.js";
import { prefetch } from "./prefetch.js";
import { createRetrier, defaultRetryPolicy, type Retrier, type RetryPolicy } from "./retry.js";
import { RpcError } from "./rpc-error.js";
import { startOrResume } from "./start-scan.js";

export interface RunScanOptions {
  shareName: string;
  mode: ScanMode;
  /** See StartScanRequest.unique_frn. */
  uniqueFrn: boolean;
  /** See StartScanRequest.exact_list_times. */
  exactListTimes: boolean;
  /** Name of this agent's part of the scan. Default `main`. */
  writer?: string;
  /** Chunks after the directory that a resume token names; all of them without one. Called again after each lost connection. */
  source: (resumeAfter: Uint8Array | undefined) => AsyncIterable<Chunk>;
  /** An unfinished scan of the share: `auto` goes on with it, `restart` abandons it. */
  resume: "auto" | "restart";
  onProgress?: (progress: ScanProgress) => void;
  signal?: AbortSignal;
  retry?: Partial<RetryPolicy>;
}

/** What has been sent, with what was committed before a resume. */
export interface ScanProgress {
  state: "scanning" | "reconnecting" | "finishing";
  directories: number;
  files: number;
  /** Sum of the files' logical sizes. */
  bytes: bigint;
  chunks: number;
}

export interface ScanResult {
  scan: Scan;
  /** What was refused or unreadable; the first 1,000. */
  problems: ScanProblem[];
  stats: {
    /** An unfinished scan was continued. */
    resumed: boolean;
    reconnects: number;
    /** Chunks of this writer, earlier runs included. */
    chunks: number;
  };
}

/** Walk and network run at the same time; this many chunks (of 256 KiB) are ready between them. */
const chunksReady = 4;
/** The end of a large scan takes minutes; when the answer is lost, asking again is safe. */
const finishTimeoutMs = 15 * 60_000;
const problemsShown = 1000;

/** What the parts of a run share. */
interface Run {
  client: Client;
  options: RunScanOptions & { writer: string };
  retrier: Retrier;
  progress: ScanProgress;
  scanId: bigint;
}

/**
 * Runs a scan from its start, or from where an earlier run left it, to its end. Connections that fail are made again for
 * `retry.maxElapsedMs` without progress (default 10 min). Rejects with the source's error or a final RpcError, the scan then
 * stays RUNNING and can be resumed; with the signal's reason when aborted.
 */
export async function runScan(client: Client, options: RunScanOptions): Promise<ScanResult> {
  const progress: ScanProgress = { state: "scanning", directories: 0, files: 0, bytes: 0n, chunks: 0 };
  const retrier = createRetrier({ ...defaultRetryPolicy, ...options.retry }, options.signal, () => {
    if (progress.state === "scanning") report(run, "reconnecting");
  });
  const run: Run = { client, options: { ...options, writer: options.writer ?? "main" }, retrier, progress, scanId: 0n };
  try {
    const started = await startOrResume(client, options, retrier);
    run.scanId = started.scanId;
    const { reconnects, sent } = await pushAll(run, started.resumed);
    report(run, "finishing");
    retrier.progressed();
    const scan = await finish(run, sent);
    const problems = await problemsOf(run, scan);
    return { scan, problems, stats: { resumed: started.resumed, reconnects, chunks: progress.chunks } };
  } catch (error) {
    throw explain(error, run.scanId);
  }
}

/** Sends everything; returns how often the connection was lost, and how many chunks there are: unknown when the scan is finishing and takes no more. */
async function pushAll(run: Run, resumed: boolean): Promise<{ reconnects: number; sent: bigint | undefined }> {
  /** Nobody else can have written to a scan that was started a moment ago. */
  let position: Position | undefined = resumed ? undefined : { nextChunkNo: 0n, resumeAfter: undefined };
  let gapAt: bigint | undefined;
  let best = -1n;
  for (let reconnects = 0; ; reconnects++) {
    try {
      position ??= await currentPosition(run);
      if (position === "finishing") return { reconnects, sent: undefined };
      if (position.nextChunkNo > best) run.retrier.progressed();
      if (position.nextChunkNo > best) best = position.nextChunkNo;
      report(run, "scanning");
      return { reconnects, sent: await push(run, position) };
    } catch (error) {
      // The server expects another number: ask it again. Told so again at the same place, something is wrong.
      const gap = error instanceof RpcError && error.code === "OUT_OF_RANGE" && gapAt !== best;
      if (gap) gapAt = best;
      else await run.retrier.wait(error);
      position = undefined;
    }
  }
}

type Position = { nextChunkNo: bigint; resumeAfter: Uint8Array | undefined } | "finishing";

/**
 * Where the server says to go on. A broken stream's last segments may still be committing while it answers: `open` names
 * the number, and is refused if it is no longer the next.
 */
async function currentPosition(run: Run): Promise<Position> {
  const { scan, position } = await getScan(run);
  if (scan.status !== ScanStatus.RUNNING) {
    throw new Error(`Scan ${run.scanId} was ended by someone else: it is ${ScanStatus[scan.status]}. Run the scan again.`);
  }
  if (scan.finishing) return "finishing";
  Object.assign(run.progress, {
    directories: Number(scan.counts?.directories ?? 0n),
    files: Number(scan.counts?.files ?? 0n),
    bytes: scan.counts?.sizeBytes ?? 0n,
    chunks: Number(position.nextChunkNo),
  });
  const resumeAfter = position.resumeToken.length > 0 ? position.resumeToken : undefined;
  return { nextChunkNo: position.nextChunkNo, resumeAfter };
}

/** One stream, from a position to the source's end. Returns the number after the last chunk's. */
async function push(run: Run, position: Exclude<Position, "finishing">): Promise<bigint> {
  const { client, options, scanId, progress } = run;
  const stream = client.clientStream(ScanService.method.pushScan, signalOf(options));
  let chunkNo = position.nextChunkNo;
  try {
    await stream.send({ message: { case: "open", value: { scanId, writer: options.writer, nextChunkNo: chunkNo } } });
    for await (const chunk of prefetch(options.source(position.resumeAfter), chunksReady)) {
      chunk.chunkNo = chunkNo;
      await stream.send({ message: { case: "chunk", value: chunk } });
      chunkNo++;
      progress.chunks = Number(chunkNo);
      addChunk(progress, chunk);
      options.onProgress?.({ ...progress });
    }
    const answer = await stream.finish();
    if (answer.nextChunkNo !== chunkNo) {
      throw new Error(
        `Scan ${scanId}: the server expects chunk ${answer.nextChunkNo} next, the agent sent up to ${chunkNo}. Run it again with --restart.`,
      );
    }
    return chunkNo;
  } finally {
    stream.cancel();
  }
}

/** Ends the scan, with the numbers of chunks as the server has them; this writer's must be what it sent. */
async function finish(run: Run, sent: bigint | undefined): Promise<Scan> {
  const { client, options, retrier, scanId } = run;
  const { writers, position } = await retrier.run(() => getScan(run));
  if (sent !== undefined && position.nextChunkNo !== sent) throw anotherAgent(scanId);
  const chunks = Object.fromEntries(writers.map(({ writer, nextChunkNo }) => [writer, nextChunkNo]));
  const request = { scanId, chunks };
  const { scan } = await retrier.run(() =>
    client.unary(ScanService.method.finishScan, request, { ...signalOf(options), timeoutMs: finishTimeoutMs }),
  );
  return present(scan);
}

async function getScan({ client, options, scanId }: Run) {
  const { scan, writers } = await client.unary(ScanService.method.getScan, { scanId }, signalOf(options));
  const position = writers.find(({ writer }) => writer === options.writer) ?? { nextChunkNo: 0n, resumeToken: new Uint8Array() };
  return { scan: present(scan), writers, position };
}

async function problemsOf({ client, options, retrier }: Run, scan: Scan): Promise<ScanProblem[]> {
  if (scan.status !== ScanStatus.WARN) return [];
  const request = { scanId: scan.scanId, pageSize: problemsShown };
  const { problems } = await retrier.run(() => client.unary(ScanService.method.listScanProblems, request, signalOf(options)));
  return problems;
}

function addChunk(progress: ScanProgress, chunk: Chunk): void {
  for (const directory of chunk.directories) {
    if (!directory.more) progress.directories++;
    progress.files += directory.files.length;
    for (const file of directory.files) progress.bytes += file.sizeBytes;
  }
}

function report({ options, progress }: Run, state: ScanProgress["state"]): void {
  progress.state = state;
  options.onProgress?.({ ...progress });
}

function signalOf({ signal }: RunScanOptions): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function present(scan: Scan | undefined): Scan {
  if (scan === undefined) throw new Error("The server's answer has no scan. Are agent and server of the same version?");
  return scan;
}

function anotherAgent(scanId: bigint): Error {
  return new Error(
    `Scan ${scanId} was written to by another agent at the same time, so what this one sent may have been passed over. See that one agent scans the share, and run it again with --restart.`,
  );
}

/** Says what to do where the server can't know how the agent is run. */
function explain(error: unknown, scanId: bigint): unknown {
  if (!(error instanceof RpcError)) return error;
  const words: Record<string, string> = {
    WRITER_FENCED: `Another agent has taken over scan ${scanId}; this one ends. Nothing is lost: the other goes on from here.`,
    BRAKE_HOLDS: `${error.message} To confirm: frostline confirm ${scanId}; then run the same command again, it goes on from here.`,
  };
  const message = words[error.reason];
  if (message === undefined) return error;
  const { code, reason, metadata } = error;
  return new RpcError(code, message, { reason, metadata, cause: error });
}
