/** A ScanService in memory, on a real grpc-js server, whose failures a test decides. */
import { create, type DescMethod, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Metadata, type MethodDefinition, Server, ServerCredentials, status, type UntypedHandleCall } from "@grpc/grpc-js";
import {
  type Chunk,
  type PushScanRequest,
  type ScanMode,
  type ScanSchema,
  ScanService,
  ScanStatus,
  type StartScanRequest,
} from "../../src/gen/frostline/v1/scan_pb.js";

export interface Failure {
  code: keyof typeof status;
  message?: string;
  reason?: string;
  metadata?: Record<string, string>;
  retryDelayMs?: number;
}

export interface ScanServer {
  address: string;
  /** `authorization` of the last call. */
  authorization: string;
  scan: MessageInitShape<typeof ScanSchema> | undefined;
  /** Chunks of writer `main`, in order. */
  committed: Chunk[];
  /** Failures of calls to come, by method name; each is used once. `after`: the call has its effect, and only the answer is lost. */
  failures: Record<string, (Failure & { after?: boolean })[]>;
  /** For each PushScan stream with chunks to come: fails after so many of them; those before are committed. */
  pushFailures: (Failure & { afterChunks: number })[];
  /** Runs as a stream is opened, before it knows where the writer is; nothing more is read until it has ended. */
  onOpen: () => void | Promise<void>;
  calls: string[];
  stop(): void;
}

export async function startScanServer(): Promise<ScanServer> {
  const server = new Server();
  const state: ScanServer = {
    address: "",
    authorization: "",
    scan: undefined,
    committed: [],
    failures: {},
    pushFailures: [],
    onOpen: () => {},
    calls: [],
    stop: () => server.forceShutdown(),
  };
  const { startScan, getScan, abortScan, finishScan, listScanProblems, pushScan } = ScanService.method;
  const answers: [DescMethod, (request: unknown) => object][] = [
    [startScan, (request) => ({ scan: start(state, request as StartScanRequest) })],
    [getScan, () => ({ scan: state.scan, writers: [position(state)] })],
    [abortScan, () => ({ scan: end(state, ScanStatus.ABANDONED) })],
    [finishScan, (request) => ({ scan: finish(state, request as { chunks: Record<string, bigint> }) })],
    [listScanProblems, () => ({ problems: [{ name: "x", reason: "bad" }] })],
  ];
  const definitions: Record<string, MethodDefinition<unknown, unknown>> = {};
  const handlers: Record<string, UntypedHandleCall> = {};
  for (const [method, answer] of answers) {
    definitions[method.name] = definitionOf(method);
    const handle: UntypedHandleCall = (
      call: { request: unknown; metadata: Metadata },
      done: (error: object | null, response?: object) => void,
    ) => {
      state.calls.push(method.name);
      state.authorization = String(call.metadata.get("authorization")[0]);
      const failure = state.failures[method.name]?.shift();
      try {
        if (failure !== undefined && failure.after !== true) throw failure;
        const response = answer(call.request);
        if (failure !== undefined) throw failure;
        done(null, response);
      } catch (error) {
        done(toStatus(error as Failure));
      }
    };
    handlers[method.name] = handle;
  }
  definitions[pushScan.name] = definitionOf(pushScan);
  handlers[pushScan.name] = pushHandler(state);
  server.addService(definitions as never, handlers);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  state.address = `127.0.0.1:${port}`;
  return state;
}

function pushHandler(state: ScanServer): UntypedHandleCall {
  return (call: AsyncIterable<PushScanRequest>, done: (error: object | null, response?: object) => void) => {
    void (async () => {
      try {
        done(null, await receive(state, call));
      } catch (error) {
        done(toStatus(error as Failure));
      }
    })();
  };
}

async function receive(state: ScanServer, requests: AsyncIterable<PushScanRequest>): Promise<object> {
  state.calls.push("PushScan");
  let failure: (Failure & { afterChunks: number }) | undefined;
  let taken = 0;
  let repeatedChunks = 0n;
  for await (const { message } of requests) {
    if (message.case === "open") {
      await state.onOpen();
      const first = message.value.nextChunkNo;
      if (first !== undefined && first !== BigInt(state.committed.length))
        throw { code: "OUT_OF_RANGE", reason: "CHUNK_GAP" } satisfies Failure;
      continue;
    }
    if (message.case !== "chunk") throw new Error("a message without content");
    if (taken === 0) failure = state.pushFailures.shift();
    if (failure !== undefined && taken === failure.afterChunks) throw failure;
    taken++;
    const expected = BigInt(state.committed.length);
    if (message.value.chunkNo > expected) throw { code: "OUT_OF_RANGE", reason: "CHUNK_GAP" } satisfies Failure;
    if (message.value.chunkNo < expected) repeatedChunks++;
    else state.committed.push(message.value);
  }
  return { nextChunkNo: BigInt(state.committed.length), repeatedChunks };
}

function start(
  state: ScanServer,
  request: { shareName: string; mode: ScanMode; uniqueFrn: boolean; exactListTimes: boolean },
): MessageInitShape<typeof ScanSchema> {
  if (state.scan?.status === ScanStatus.RUNNING) {
    throw { code: "FAILED_PRECONDITION", reason: "SCAN_RUNNING", metadata: { scan_id: String(state.scan.scanId) } } satisfies Failure;
  }
  const { shareName, mode, uniqueFrn, exactListTimes } = request;
  state.committed = [];
  state.scan = { scanId: (state.scan?.scanId ?? 0n) + 1n, status: ScanStatus.RUNNING, shareName, mode, uniqueFrn, exactListTimes };
  return state.scan;
}

function end(state: ScanServer, to: ScanStatus): MessageInitShape<typeof ScanSchema> {
  state.scan = { ...state.scan, status: to };
  return state.scan;
}

function finish(state: ScanServer, { chunks }: { chunks: Record<string, bigint> }): MessageInitShape<typeof ScanSchema> {
  if (chunks.main !== BigInt(state.committed.length)) throw { code: "FAILED_PRECONDITION", reason: "COUNT_MISMATCH" } satisfies Failure;
  return end(state, ScanStatus.WARN);
}

function position(state: ScanServer) {
  return {
    writer: "main",
    nextChunkNo: BigInt(state.committed.length),
    resumeToken: state.committed.at(-1)?.resumeToken ?? new Uint8Array(),
  };
}

/** How grpc-js wants a method described. */
export function definitionOf(method: DescMethod): MethodDefinition<unknown, unknown> {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "client_streaming",
    responseStream: false,
    requestSerialize: () => Buffer.alloc(0),
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, create(method.output, message as Record<string, unknown>))),
    responseDeserialize: () => undefined,
  };
}

/** As the real server says it: google.rpc.Status with ErrorInfo and RetryInfo in a trailer. */
export function toStatus(failure: Failure): object {
  const metadata = new Metadata();
  const code = status[failure.code];
  const message = failure.message ?? `made to fail: ${failure.code}`;
  const details: Uint8Array[] = [];
  if (failure.reason !== undefined) {
    const info = new BinaryWriter();
    info.tag(1, WireType.LengthDelimited).string(failure.reason).tag(2, WireType.LengthDelimited).string("frostline");
    for (const [key, value] of Object.entries(failure.metadata ?? {})) {
      const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string(key).tag(2, WireType.LengthDelimited).string(value);
      info.tag(3, WireType.LengthDelimited).bytes(entry.finish());
    }
    details.push(any("google.rpc.ErrorInfo", info.finish()));
  }
  if (failure.retryDelayMs !== undefined) {
    const duration = new BinaryWriter();
    duration.tag(1, WireType.Varint).int64(Math.floor(failure.retryDelayMs / 1000));
    duration.tag(2, WireType.Varint).int32((failure.retryDelayMs % 1000) * 1e6);
    details.push(any("google.rpc.RetryInfo", new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(duration.finish()).finish()));
  }
  const encoded = new BinaryWriter().tag(1, WireType.Varint).int32(code).tag(2, WireType.LengthDelimited).string(message);
  for (const detail of details) encoded.tag(3, WireType.LengthDelimited).bytes(detail);
  metadata.set("grpc-status-details-bin", Buffer.from(encoded.finish()));
  return { code, details: message, metadata };
}

function any(type: string, value: Uint8Array): Uint8Array {
  return new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string(`type.googleapis.com/${type}`)
    .tag(2, WireType.LengthDelimited)
    .bytes(value)
    .finish();
}
