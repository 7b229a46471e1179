/** One PushScan stream: chunks in, segments committed in order, nothing read that cannot be put down. */
import type { Pool } from "pg";
import type { DirIds } from "../db/id-blocks.js";
import { DomainError } from "../errors.js";
import type { Turns } from "../fairness/turns.js";
import { type ChunkView, readChunk } from "./chunk-reader.js";
import { commitSegment, noPredecessor, type SegmentInFlight, type WriterRef } from "./commit-segment.js";
import type { IngestConnections } from "./connections.js";
import { resolveDirectories, type ShareRef } from "./directories.js";
import { draining } from "./draining.js";
import { Failure } from "./failure.js";
import * as limits from "./limits.js";
import type { HeldByStream, IngestObserver } from "./observer.js";
import { BrakeHolds, chunkGap } from "./scan-errors.js";
import { type Problem, parsePaths, Segment } from "./segment.js";
import { addRepeated, type OpenRequest, type OpenWriter, openWriter, recordBrake } from "./writers.js";

/** What the streams of one process share. */
export interface IngestContext {
  /** For short transactions. */
  pool: Pool;
  connections: IngestConnections;
  dirIds: DirIds;
  tenantTurns: Turns;
  /** Streams open now: they divide limits.bufferedBytes among them. */
  openStreams: { count: number };
  observer: IngestObserver;
  /** Aborts when the server begins to stop: streams then commit what they have, and send their agents elsewhere. */
  drainSignal: AbortSignal;
}

/** A PushScanRequest whose chunk is still bytes. */
export interface PushMessage {
  message: { case: "open"; value: OpenRequest } | { case: "chunk"; value: Uint8Array } | { case: undefined };
}

export interface PushResult {
  writer: string;
  nextChunkNo: bigint;
  repeatedChunks: bigint;
  /** The first limits.problemsInResponse. */
  problems: Problem[];
}

/**
 * Runs a stream to its end and resolves once everything of it is committed. What was committed
 * before an error stays; the client goes on from GetScan. Errors: see the proto.
 */
export async function pushScan(context: IngestContext, tenantId: string, messages: AsyncIterable<PushMessage>): Promise<PushResult> {
  const iterator = messages[Symbol.asyncIterator]();
  const open = await openWriter(context.pool, tenantId, await firstMessage(iterator));
  const stream = new PushStream(context, open);
  context.openStreams.count += 1;
  context.observer.streamOpened(stream);
  const drain = () => stream.fail(draining());
  context.drainSignal.addEventListener("abort", drain);
  try {
    if (context.drainSignal.aborted) throw draining();
    await readAll(iterator, stream);
    return await stream.finish();
  } catch (error) {
    await stream.abandon();
    if (error instanceof BrakeHolds) await recordBrake(context.pool, tenantId, error);
    throw error;
  } finally {
    context.drainSignal.removeEventListener("abort", drain);
    context.openStreams.count -= 1;
    context.observer.streamClosed(stream);
    if (stream.repeatedChunks > 0n) await addRepeated(context.pool, open.writer, stream.repeatedChunks);
  }
}

async function firstMessage(iterator: AsyncIterator<PushMessage>): Promise<OpenRequest> {
  const first = await iterator.next();
  if (first.done || first.value.message.case !== "open") {
    throw new DomainError("INVALID_ARGUMENT", "The first message of a PushScan stream is `open`; this stream began without.", {
      reason: "OPEN_MISSING",
    });
  }
  return first.value.message.value;
}

/** Reads until the client has ended, a commit failed, or a segment has grown old and is committed as it is. */
async function readAll(iterator: AsyncIterator<PushMessage>, stream: PushStream): Promise<void> {
  let next = iterator.next();
  for (;;) {
    const event = await stream.untilNext(next);
    if (event === "old") {
      await stream.cut();
      continue;
    }
    if (event.done) return;
    const { message } = event.value;
    if (message.case !== "chunk") {
      throw new DomainError("INVALID_ARGUMENT", "After `open`, every message of a PushScan stream is a `chunk`.", {
        reason: "CHUNK_MISSING",
      });
    }
    await stream.take(message.value);
    next = iterator.next();
  }
}

class PushStream implements HeldByStream {
  repeatedChunks = 0n;
  readonly #context: IngestContext;
  readonly #writer: WriterRef;
  readonly #problems: Problem[] = [];
  #problemCount = 0;
  #nextChunkNo: bigint;
  #gathering: Segment | undefined;
  /** Of the gathering segment, when its rows stream already. */
  #streaming: SegmentInFlight | undefined;
  #last: SegmentInFlight = noPredecessor;
  readonly #inFlight = new Set<SegmentInFlight>();
  /** Their rows. */
  readonly #sending = new Set<Segment>();
  readonly #failure = new Failure();
  /** Ends the wait for a turn. */
  readonly #ended = new AbortController();

  constructor(context: IngestContext, open: OpenWriter) {
    this.#context = context;
    this.#writer = open.writer;
    this.#nextChunkNo = open.nextChunkNo;
  }

  get heldBytes(): number {
    const segments = new Set(this.#sending);
    if (this.#gathering) segments.add(this.#gathering);
    return [...segments].reduce((bytes, { rows }) => bytes + rows.heldBytes, 0);
  }

  get segmentsInFlight(): number {
    return this.#inFlight.size;
  }

  /** Ends the stream with this error, whatever it is waiting for. */
  fail(error: unknown): void {
    this.#failure.fail(error);
    this.#ended.abort(error);
  }

  /** What comes `next`; or "old" when the gathering segment should be committed without waiting for more. */
  async untilNext<T>(next: Promise<T>): Promise<T | "old"> {
    const segment = this.#gathering;
    if (!segment || segment.openDirectory) return this.#failure.unlessFailed(next);
    let timer: NodeJS.Timeout | undefined;
    const old = new Promise<"old">((resolve) => {
      timer = setTimeout(() => resolve("old"), Math.max(0, segment.startedMs + limits.segmentAgeMs - Date.now()));
    });
    try {
      return await this.#failure.unlessFailed(Promise.race([next, old]));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Takes a chunk into the gathering segment; waits while the database is behind, and while it is others' turn. */
  async take(bytes: Uint8Array): Promise<void> {
    const { share } = this.#writer;
    // A directory that streams into the database holds a connection that others wait for.
    if (!this.#streaming) await this.#begin(share.tenantId);
    const chunk = await this.#compute(() => readChunk(bytes));
    if (chunk.chunkNo < this.#nextChunkNo) {
      this.repeatedChunks += 1n;
      return;
    }
    if (chunk.chunkNo > this.#nextChunkNo) throw chunkGap(this.#writer.writer, await this.#commitTaken(), chunk.chunkNo);
    const paths = parsePaths(chunk, share);
    const dirIds = await this.#dirIds(share, paths);
    if (this.#gathering?.repeats(dirIds) && !this.#gathering.openDirectory) await this.cut();
    await this.#compute(() => this.#add(chunk, paths, dirIds));
    const segment = this.#gathering as Segment | undefined;
    if (!segment) return;
    const most = this.#segmentBytes();
    if (segment.openDirectory) {
      if (segment.rows.heldBytes > most || this.#streaming) await this.#stream(segment, most);
    } else if (segment.rows.rowCount >= limits.segmentFiles || segment.rows.heldBytes >= most || this.#streaming || this.#isOld(segment)) {
      await this.cut();
    }
  }

  /** Waits for the tenant's turn; a segment that grows old meanwhile is committed. */
  async #begin(tenantId: string): Promise<void> {
    const begun = this.#context.tenantTurns.begin(tenantId, this.#ended.signal);
    while ((await this.untilNext(begun)) === "old") await this.cut();
  }

  #add(chunk: ChunkView, paths: ({ path: string } | { fault: string })[], dirIds: (bigint | undefined)[]): void {
    this.#gathering ??= new Segment(this.#writer.share, chunk.chunkNo);
    const segment = this.#gathering;
    const problemsBefore = segment.problems.length;
    segment.add(chunk, paths, dirIds);
    this.#nextChunkNo = segment.nextChunkNo;
    this.#problemCount += segment.problems.length - problemsBefore;
    if (this.#problemCount > limits.problemsAtMost) throw tooManyProblems();
  }

  /** In the tenant's turn at the main thread. */
  #compute<T>(work: () => T): Promise<T> {
    return this.#context.tenantTurns.compute(this.#writer.share.tenantId, this.#ended.signal, work);
  }

  /** Sends the gathering segment on its way, once there is room for it. The next one gathers while this one is at work. */
  async cut(): Promise<void> {
    const segment = this.#gathering;
    if (!segment) return;
    segment.rows.end();
    const inFlight = this.#streaming ?? (await this.#start(segment));
    this.#gathering = undefined;
    this.#streaming = undefined;
    const known = segment.problems.length;
    inFlight.committed.then(
      () => this.#keepProblems(segment.problems, known),
      () => {},
    );
  }

  async finish(): Promise<PushResult> {
    if (this.#gathering?.openDirectory) {
      const { path } = this.#gathering.openDirectory;
      throw new DomainError(
        "INVALID_ARGUMENT",
        `The stream ended inside the listing of ${JSON.stringify(path)}: its last part is missing.`,
        {
          reason: "LISTING_NOT_ENDED",
        },
      );
    }
    await this.cut();
    await this.#last.committed;
    // What the database found in the last segment.
    if (this.#problemCount > limits.problemsAtMost) throw tooManyProblems();
    return { writer: this.#writer.writer, nextChunkNo: this.#nextChunkNo, repeatedChunks: this.repeatedChunks, problems: this.#problems };
  }

  /** After an error: nothing more is sent, what is in flight comes to its end. */
  async abandon(): Promise<void> {
    this.#gathering?.rows.fail(new Error("the stream has ended"));
    await Promise.allSettled([...this.#inFlight].map((segment) => segment.committed));
  }

  /** Commits what was taken, but for a directory that has not ended. Returns the number to go on with. */
  async #commitTaken(): Promise<bigint> {
    if (this.#gathering?.openDirectory) return this.#gathering.firstChunkNo;
    await this.cut();
    await this.#last.committed;
    return this.#nextChunkNo;
  }

  /** Waits until fewer than the allowed number are in flight. */
  async #start(segment: Segment): Promise<SegmentInFlight> {
    while (this.#inFlight.size >= limits.segmentsInFlight) {
      const [oldest] = this.#inFlight;
      await (oldest as SegmentInFlight).committed;
    }
    const inFlight = commitSegment(this.#context, this.#writer, segment, this.#last);
    this.#last = inFlight;
    this.#inFlight.add(inFlight);
    this.#sending.add(segment);
    const ended = () => {
      this.#inFlight.delete(inFlight);
      this.#sending.delete(segment);
    };
    inFlight.committed.then(ended, (error) => {
      ended();
      this.fail(error);
    });
    return inFlight;
  }

  /** A directory that is larger than a segment goes into its transaction while it is still being read. */
  async #stream(segment: Segment, most: number): Promise<void> {
    this.#streaming ??= await this.#start(segment);
    await this.#failure.unlessFailed(segment.rows.drained(most));
  }

  async #dirIds(share: ShareRef, paths: ({ path: string } | { fault: string })[]): Promise<(bigint | undefined)[]> {
    const good = paths.flatMap((parsed) => ("path" in parsed ? [parsed.path] : []));
    if (good.length === 0) return paths.map(() => undefined);
    const { pool, dirIds, tenantTurns } = this.#context;
    const inTurn = <T>(work: () => Promise<T>) => tenantTurns.lookUp(share.tenantId, this.#ended.signal, work);
    const ids = await this.#failure.unlessFailed(resolveDirectories(pool, dirIds, share, good, null, inTurn));
    let at = 0;
    return paths.map((parsed) => ("path" in parsed ? ids[at++] : undefined));
  }

  #segmentBytes(): number {
    const share = limits.bufferedBytes / this.#context.openStreams.count / (limits.segmentsInFlight + 1);
    return Math.max(limits.leastSegmentBytes, Math.min(limits.segmentBytes, share));
  }

  #isOld(segment: Segment): boolean {
    return Date.now() - segment.startedMs >= limits.segmentAgeMs;
  }

  /** `known` of them were counted as the chunks came, the others showed themselves in the database. */
  #keepProblems(problems: Problem[], known: number): void {
    const room = limits.problemsInResponse - this.#problems.length;
    if (room > 0) this.#problems.push(...problems.slice(0, room));
    this.#problemCount += problems.length - known;
    if (this.#problemCount > limits.problemsAtMost) this.fail(tooManyProblems());
  }
}

function tooManyProblems(): DomainError {
  return new DomainError(
    "RESOURCE_EXHAUSTED",
    `More than ${limits.problemsAtMost} records of this stream were refused. Look at ListScanProblems, mend the source, and start again.`,
    { reason: "TOO_MANY_PROBLEMS", retryDelayMs: 60_000 },
  );
}
