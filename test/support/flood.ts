/**
 * A tenant that floods, as a process of its own: `tsx flood.ts <settings as JSON>`. It opens streams on as many connections
 * as they need, sends on each as fast as the server reads, and begins again whatever is refused. On SIGTERM, or when its
 * parent goes, it prints what it was let do, as JSON, and ends.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as http2 from "node:http2";
import { create, type DescMessage, type DescMethod, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AuditAction, AuditBatchSchema, AuditEventSchema, AuditService } from "../../src/gen/frostline/v1/audit_pb.js";
import { FileService } from "../../src/gen/frostline/v1/file_pb.js";
import { DirectoryListingSchema, ScanService } from "../../src/gen/frostline/v1/scan_pb.js";
import { ShareService } from "../../src/gen/frostline/v1/share_pb.js";

export interface FloodSettings {
  server: string;
  key: string;
  /** Each with a running scan; streams are spread over them, each a writer of its own. */
  scans: { shareName: string; scanId: string }[];
  scanStreams: number;
  /** Spread over the same shares, which are of volume `<share name> volume`. */
  auditStreams: number;
  unaryCalls: number;
  /** Unary calls, each with another key that nobody has. */
  wrongKeys: number;
  filesOfChunk: number;
  eventsOfBatch: number;
}

export interface FloodResult {
  /** Taken by the connection. */
  files: number;
  events: number;
  unaryAnswers: number;
  /** Calls that ended, by gRPC status. */
  ended: Record<string, number>;
}

/** A server accepts 100 streams of a connection. */
const streamsOfConnection = 90;
/** Between a refusal and the next attempt: shorter than the server asks for. */
const againMs = 100;

const settings = JSON.parse(process.argv[2] as string) as FloodSettings;
const result: FloodResult = { files: 0, events: 0, unaryAnswers: 0, ended: {} };
let stopping = false;

const sessions: http2.ClientHttp2Session[] = [];

function session(n: number): http2.ClientHttp2Session {
  const at = Math.floor(n / streamsOfConnection);
  let found = sessions[at];
  if (found === undefined || found.closed || found.destroyed) {
    found = http2.connect(`http://${settings.server}`);
    found.on("error", () => {});
    sessions[at] = found;
  }
  return found;
}

function frame(bytes: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(5 + bytes.length);
  framed[0] = 0;
  framed.writeUInt32BE(bytes.length, 1);
  framed.set(bytes, 5);
  return framed;
}

const encode = <I extends DescMessage>(schema: I, message: MessageInitShape<I>) => frame(toBinary(schema, create(schema, message)));

/** Sends what `messages` yields, as fast as it is taken; counts the status it ends with. */
async function call(n: number, method: DescMethod, messages: Iterable<Buffer>, key: string): Promise<number> {
  const stream = session(n).request({
    ":method": "POST",
    ":path": `/${method.parent.typeName}/${method.name}`,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${key}`,
  });
  let status = -1;
  stream.on("error", () => {});
  stream.on("response", (headers) => (status = Number(headers["grpc-status"] ?? status)));
  stream.on("trailers", (headers) => (status = Number(headers["grpc-status"] ?? status)));
  stream.resume();
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  for (const message of messages) {
    if (stream.closed || stream.destroyed || stopping) break;
    if (!stream.write(message)) await Promise.race([once(stream, "drain").catch(() => {}), closed]);
  }
  if (!stream.closed && !stream.destroyed) stream.end();
  if (stopping) stream.close();
  await closed;
  result.ended[status] = (result.ended[status] ?? 0) + 1;
  return status;
}

/** Runs a call again and again; at once when it was answered. */
async function forEver(n: number, method: DescMethod, messages: () => Iterable<Buffer>, answered: () => void = () => {}): Promise<void> {
  while (!stopping) {
    const status = await call(n, method, messages(), settings.key);
    if (status === 0) answered();
    else await new Promise((resolve) => setTimeout(resolve, againMs));
  }
}

const records = Array.from({ length: settings.filesOfChunk }, (_, n) => ({
  name: Buffer.from(`a file with a name ${n}.mov`),
  sizeBytes: BigInt(n * 1000),
  mtimeUnix: 1_700_000_000n,
}));
/** Of a listing but for its path: fields may come in any order. */
const listed = toBinary(DirectoryListingSchema, create(DirectoryListingSchema, { files: records, complete: true }));
const varint = (value: number): number[] => (value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))]);

/** A chunk, put together of bytes: the flood should cost the server, not its sender. */
function chunkMessage(path: string, chunkNo: number): Buffer {
  const name = Buffer.from(path);
  const listing = Buffer.concat([Buffer.from([0x0a, ...varint(name.length)]), name, listed]);
  const chunk = Buffer.concat([Buffer.from([0x08, ...varint(chunkNo), 0x1a, ...varint(listing.length)]), listing]);
  return frame(Buffer.concat([Buffer.from([0x12, ...varint(chunk.length)]), chunk]));
}

/** Again and again, without a pause. */
async function guessKeys(n: number): Promise<void> {
  const { getShare } = ShareService.method;
  const message = encode(getShare.input, { shareName: "x" });
  while (!stopping) await call(n, getShare, [message], `fl_${randomBytes(32).toString("base64url")}`);
}

let opened = 0;

function* scanMessages({ scanId }: { scanId: string }): Generator<Buffer> {
  // A writer of its own each time: nothing is a repetition.
  const writer = `w${opened++ % 64}`;
  const run = opened;
  yield encode(ScanService.method.pushScan.input, { message: { case: "open", value: { scanId: BigInt(scanId), writer } } });
  for (let n = 0; ; n++) {
    yield chunkMessage(`/${writer}/${run}/${n}`, n);
    result.files += settings.filesOfChunk;
  }
}

/** Writes a varint, and returns where it ends. */
function putVarint(bytes: Buffer, at: number, value: number): number {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes[at++] = (rest % 128) + 128;
  bytes[at++] = rest;
  return at;
}

const startMicros = 1_700_000_000_000_000;
/** Of a number within its message, tag and all, at the most. */
const numberBytes = 9;

/** A batch, put together of bytes likewise; `events` but for their offsets and times. */
function batchMessage(auditFilePath: string, from: number, events: Uint8Array[]): Buffer {
  const head = toBinary(
    AuditBatchSchema,
    create(AuditBatchSchema, { auditFilePath, startOffset: BigInt(from), endOffset: BigInt(from + events.length) }),
  );
  const most = events.reduce((sum, event) => sum + event.length + 4 * numberBytes, head.length);
  const batch = Buffer.allocUnsafe(most);
  batch.set(head);
  const numbers = Buffer.allocUnsafe(2 * numberBytes);
  let at = head.length;
  events.forEach((event, n) => {
    numbers[0] = 0x08;
    let length = putVarint(numbers, 1, from + n);
    numbers[length++] = 0x10;
    length = putVarint(numbers, length, startMicros + from + n);
    batch[at++] = 0x2a;
    at = putVarint(batch, at, length + event.length);
    batch.set(numbers.subarray(0, length), at);
    batch.set(event, at + length);
    at += length + event.length;
  });
  return frame(Buffer.concat([Buffer.from([0x12, ...varint(at)]), batch.subarray(0, at)]));
}

function* auditMessages({ shareName }: { shareName: string }): Generator<Buffer> {
  const { input } = AuditService.method.pushAudit;
  const run = opened++;
  yield encode(input, { message: { case: "open", value: { shareName, volumeId: `${shareName} volume` } } });
  const events = Array.from({ length: settings.eventsOfBatch }, (_, n) => {
    const read = { action: AuditAction.READ, path: `/audit/${n % 50}/file ${n}`, user: "user", host: "host", node: `${run}` };
    return toBinary(AuditEventSchema, create(AuditEventSchema, read));
  });
  for (let from = 0; ; from += events.length) {
    yield batchMessage(`${run}/log`, from, events);
    result.events += events.length;
  }
}

function at<T>(list: readonly T[], n: number): T {
  return list[n % list.length] as T;
}

for (let n = 0; n < settings.scanStreams; n++) {
  void forEver(n, ScanService.method.pushScan, () => scanMessages(at(settings.scans, n)));
}
for (let n = 0; n < settings.auditStreams; n++) {
  void forEver(settings.scanStreams + n, AuditService.method.pushAudit, () => auditMessages(at(settings.scans, n)));
}
for (let n = 0; n < settings.unaryCalls; n++) {
  const { shareName } = at(settings.scans, n);
  const [method, message] =
    n % 2 === 0
      ? [FileService.method.listFiles, encode(FileService.method.listFiles.input, { shareName, pageSize: 10_000 })]
      : [ShareService.method.getShare, encode(ShareService.method.getShare.input, { shareName })];
  void forEver(
    settings.scanStreams + settings.auditStreams + n,
    method,
    () => [message],
    () => result.unaryAnswers++,
  );
}

for (let n = 0; n < settings.wrongKeys; n++) void guessKeys(settings.scanStreams + settings.auditStreams + settings.unaryCalls + n);

function stop(): void {
  if (stopping) return;
  stopping = true;
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}
process.on("SIGTERM", stop);
process.on("disconnect", stop);
