/**
 * The request of a unary call, read and tried before the call begins. Connect would read it outside of all interceptors: what cannot be
 * decoded it calls internal, and nobody would log or count it.
 */
import { type DescMessage, type DescMethod, fromBinary, fromJsonString } from "@bufbuild/protobuf";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import { DomainError } from "../errors.js";

/** The encodings that requests may have. */
export const requestCompressions = [compressionGzip, compressionBrotli];

const headBytes = 5;
const compressedFlag = 1;

/**
 * The call with its body in hand. Throws INVALID_ARGUMENT (MALFORMED_MESSAGE) for a message that cannot be decoded, and what the reading and
 * the unpacking of the body throw. Whatever else is wrong, Connect will tell.
 */
export async function readUnaryRequest(
  { input }: DescMethod,
  call: UniversalServerRequest,
  body: AsyncIterable<Uint8Array>,
  messageBytesAtMost: number,
): Promise<UniversalServerRequest> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    pieces.push(piece);
    length += piece.length;
    // More than one message already.
    if (length > headBytes + messageBytesAtMost) break;
  }
  const bytes = Buffer.concat(pieces);
  for (const { message, isCompressed } of messagesOf(call.header, bytes)) {
    const unpacked = isCompressed ? await unpack(call.header, message, messageBytesAtMost) : message;
    if (unpacked === undefined) break;
    tryToDecode(input, call.header, unpacked);
  }
  return { ...call, body: of(bytes) };
}

/** Those that Connect decodes: there should be one, and it refuses the second. */
function messagesOf(header: Headers, bytes: Buffer): { message: Buffer; isCompressed: boolean }[] {
  if (!isFramed(header)) return [{ message: bytes, isCompressed: encodingOf(header) !== "identity" }];
  const messages = [];
  for (let at = 0; at + headBytes <= bytes.length && messages.length < 2; ) {
    const end = at + headBytes + bytes.readUInt32BE(at + 1);
    if (end > bytes.length) break;
    messages.push({ message: bytes.subarray(at + headBytes, end), isCompressed: ((bytes[at] as number) & compressedFlag) !== 0 });
    at = end;
  }
  return messages;
}

/** JSON that is none Connect would quote in a header, and could not where it has half of a surrogate pair: there would be no answer. */
function tryToDecode(input: DescMessage, header: Headers, message: Uint8Array): void {
  try {
    if (/json\b/.test(header.get("content-type") ?? ""))
      fromJsonString(input, new TextDecoder().decode(message), { ignoreUnknownFields: true });
    else fromBinary(input, message);
  } catch (error) {
    throw malformed(error instanceof Error ? error.message : String(error), error);
  }
}

/** Undefined when nobody knows the encoding. */
async function unpack(header: Headers, message: Buffer, messageBytesAtMost: number): Promise<Uint8Array | undefined> {
  const encoding = encodingOf(header);
  if (encoding === "identity") throw malformed("it is marked as compressed, and no header says how", undefined);
  return requestCompressions.find(({ name }) => name === encoding)?.decompress(message, messageBytesAtMost);
}

function isFramed(header: Headers): boolean {
  return header.get("content-type")?.startsWith("application/grpc") === true;
}

function encodingOf(header: Headers): string {
  return header.get(isFramed(header) ? "grpc-encoding" : "content-encoding") || "identity";
}

function malformed(problem: string, cause: unknown): DomainError {
  return new DomainError("INVALID_ARGUMENT", `The message cannot be decoded: ${problem}.`, { reason: "MALFORMED_MESSAGE", cause });
}

async function* of(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
