/** An AuditService in memory, on a real grpc-js server, whose failures a test decides. */
import type { DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { type MethodDefinition, Server, ServerCredentials, type UntypedHandleCall } from "@grpc/grpc-js";
import {
  type AddAuditExclusionRequest,
  AuditAction,
  type AuditBatch,
  type AuditEvent,
  type AuditExclusion,
  AuditService,
  type ListAuditCursorsRequest,
  type PushAuditRequest,
  type RemoveAuditExclusionRequest,
  type ResetAuditCursorRequest,
} from "../../src/gen/frostline/v1/audit_pb.js";
import { type CreateShareRequest, type ShareSchema, ShareService } from "../../src/gen/frostline/v1/share_pb.js";
import { definitionOf, type Failure, toStatus } from "./scan-server.js";

export interface Cursor {
  position: bigint;
  headFingerprint: Uint8Array;
  generation: number;
}

export interface Taken {
  auditFilePath: string;
  generation: number;
  event: AuditEvent;
}

export interface AuditServer {
  address: string;
  cursors: Map<string, Cursor>;
  /** In the order they were committed. */
  taken: Taken[];
  /** Volume ids that streams were opened with. */
  volumeIds: string[];
  batches: AuditBatch[];
  /** For each PushAudit stream with batches to come: fails after so many of them, which are committed. */
  pushFailures: (Failure & { afterBatches: number })[];
  /** Of ListAuditCursors. */
  listFailures: Failure[];
  /** Cursors in one answer. */
  pageSize: number;
  /** Runs before a batch is taken; nothing more is read until it has ended. */
  onBatch: (batch: AuditBatch) => void | Promise<void>;
  exclusions: AuditExclusion[];
  share: MessageInitShape<typeof ShareSchema> | undefined;
  calls: string[];
  /** PushAudit streams that are open, and the most there were. */
  streams: { now: number; most: number };
  stop(): void;
}

export async function startAuditServer(): Promise<AuditServer> {
  const server = new Server();
  const state: AuditServer = {
    address: "",
    cursors: new Map(),
    taken: [],
    volumeIds: [],
    batches: [],
    pushFailures: [],
    listFailures: [],
    pageSize: 1000,
    onBatch: () => {},
    exclusions: [],
    share: undefined,
    calls: [],
    streams: { now: 0, most: 0 },
    stop: () => server.forceShutdown(),
  };
  const { pushAudit, listAuditCursors, resetAuditCursor, listAuditExclusions, addAuditExclusion, removeAuditExclusion } =
    AuditService.method;
  const unary: [DescMethod, (request: never) => object][] = [
    [listAuditCursors, (request: ListAuditCursorsRequest) => list(state, request)],
    [resetAuditCursor, (request: ResetAuditCursorRequest) => reset(state, request)],
    [listAuditExclusions, () => ({ exclusions: state.exclusions })],
    [addAuditExclusion, ({ exclusion }: AddAuditExclusionRequest) => add(state, exclusion as AuditExclusion)],
    [removeAuditExclusion, ({ exclusion }: RemoveAuditExclusionRequest) => remove(state, exclusion as AuditExclusion)],
    [ShareService.method.getShare, () => share(state)],
    [ShareService.method.createShare, (request: CreateShareRequest) => createShare(state, request)],
  ];
  const definitions: Record<string, MethodDefinition<unknown, unknown>> = { [pushAudit.name]: definitionOf(pushAudit) };
  const handlers: Record<string, UntypedHandleCall> = {
    [pushAudit.name]: answering((call: AsyncIterable<PushAuditRequest>) => receive(state, call)),
  };
  for (const [method, answer] of unary) {
    definitions[method.name] = definitionOf(method);
    handlers[method.name] = answering(async (call: { request: never }) => {
      state.calls.push(method.name);
      return answer(call.request);
    });
  }
  server.addService(definitions as never, handlers);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  state.address = `127.0.0.1:${port}`;
  return state;
}

function answering<Call>(answer: (call: Call) => Promise<object>): UntypedHandleCall {
  return ((call: Call, done: (error: object | null, response?: object) => void) => {
    answer(call).then(
      (response) => done(null, response),
      (error: Failure) => done(toStatus(error)),
    );
  }) as UntypedHandleCall;
}

function list(state: AuditServer, { pageToken }: ListAuditCursorsRequest): object {
  const failure = state.listFailures.shift();
  if (failure !== undefined) throw failure;
  const from = Number(pageToken || "0");
  const all = [...state.cursors].map(([auditFilePath, cursor]) => ({ auditFilePath, ...cursor }));
  const to = from + state.pageSize;
  return { cursors: all.slice(from, to), nextPageToken: to < all.length ? String(to) : "" };
}

function reset(state: AuditServer, { auditFilePath, position }: ResetAuditCursorRequest): object {
  const cursor = state.cursors.get(auditFilePath);
  if (cursor === undefined)
    throw { code: "NOT_FOUND", reason: "CURSOR_NOT_FOUND", message: `Nothing of ${auditFilePath} was read.` } satisfies Failure;
  cursor.position = position;
  return { cursor: { auditFilePath, ...cursor } };
}

function add(state: AuditServer, exclusion: AuditExclusion): object {
  state.exclusions.push(exclusion);
  return { exclusion };
}

function remove(state: AuditServer, exclusion: AuditExclusion): object {
  state.exclusions = state.exclusions.filter(
    ({ kind, value, shareName }) => kind !== exclusion.kind || value !== exclusion.value || shareName !== exclusion.shareName,
  );
  return {};
}

function share(state: AuditServer): object {
  if (state.share === undefined) throw { code: "NOT_FOUND", reason: "SHARE_NOT_FOUND" } satisfies Failure;
  return { share: state.share };
}

function createShare(state: AuditServer, { shareName, sourceType, sourceRoot }: CreateShareRequest): object {
  state.share = { shareName, sourceType, sourceRoot };
  return share(state);
}

async function receive(state: AuditServer, requests: AsyncIterable<PushAuditRequest>): Promise<object> {
  state.calls.push("PushAudit");
  state.streams.now++;
  state.streams.most = Math.max(state.streams.most, state.streams.now);
  try {
    const counts = { applied: 0n, duplicate: 0n, refused: 0n, ignored: 0n };
    let failure: (Failure & { afterBatches: number }) | undefined;
    let batches = 0;
    for await (const { message } of requests) {
      if (message.case === "open") {
        if (message.value.volumeId === "") throw { code: "INVALID_ARGUMENT", reason: "INVALID_FIELD" } satisfies Failure;
        state.volumeIds.push(message.value.volumeId);
      }
      if (message.case !== "batch") continue;
      if (batches === 0) failure = state.pushFailures.shift();
      if (failure?.afterBatches === batches) throw failure;
      await state.onBatch(message.value);
      take(state, message.value, counts);
      batches++;
    }
    // Also at the very end: all is committed, and only the answer is lost.
    if (failure !== undefined) throw failure;
    return { counts };
  } finally {
    state.streams.now--;
  }
}

/** As the contract says: another first line begins a new generation, what is before the cursor is a duplicate, and a gap is refused. */
function take(state: AuditServer, batch: AuditBatch, counts: Record<"applied" | "duplicate" | "refused" | "ignored", bigint>): void {
  state.batches.push(batch);
  const known = state.cursors.get(batch.auditFilePath);
  const same = known !== undefined && Buffer.compare(known.headFingerprint, batch.headFingerprint) === 0;
  const generation = known === undefined ? 1 : known.generation + (same ? 0 : 1);
  const position = same ? known.position : 0n;
  if (batch.startOffset > position) throw { code: "OUT_OF_RANGE", reason: "AUDIT_GAP" } satisfies Failure;
  for (const event of batch.events) {
    if (event.offset < batch.startOffset || event.offset >= batch.endOffset) throw { code: "INVALID_ARGUMENT" } satisfies Failure;
    if (event.offset < position) counts.duplicate++;
    else {
      if (event.refusedReason !== "") counts.refused++;
      else if (event.action === AuditAction.UNSPECIFIED) counts.ignored++;
      else counts.applied++;
      state.taken.push({ auditFilePath: batch.auditFilePath, generation, event });
    }
  }
  const end = batch.endOffset > position ? batch.endOffset : position;
  state.cursors.set(batch.auditFilePath, { position: end, headFingerprint: batch.headFingerprint, generation });
}
