/** Messages that were encoded beforehand, in files and on the wire: what is measured is the server, not the encoding. */
import { once } from "node:events";
import * as fs from "node:fs";
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { Client, credentials, Metadata } from "@grpc/grpc-js";

/** A message with its length before it, as files hold them. */
export function framed(message: Uint8Array): [Buffer, Uint8Array] {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(message.length);
  return [length, message];
}

/** Reads one after the other: a file may be larger than memory. */
export function* messagesOf(file: string): Generator<Buffer> {
  const handle = fs.openSync(file, "r");
  try {
    const length = Buffer.alloc(4);
    while (fs.readSync(handle, length) === 4) {
      const message = Buffer.alloc(length.readUInt32LE());
      if (fs.readSync(handle, message) < message.length) throw new Error(`${file} ends within a message`);
      yield message;
    }
  } finally {
    fs.closeSync(handle);
  }
}

export interface Sender {
  client: Client;
  metadata: Metadata;
}

export function connect(server: string, key: string): Sender {
  const client = new Client(server, credentials.createInsecure(), {
    "grpc.max_send_message_length": 4 << 20,
    "grpc.per_rpc_retry_buffer_size": 16 * 1024,
  });
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${key}`);
  return { client, metadata };
}

/** Sends all of `messages` on one stream and resolves with the response. Rejects with what the server says. */
export async function sendAll<O extends DescMessage>(
  { client, metadata }: Sender,
  method: string,
  output: O,
  messages: Iterable<Uint8Array>,
): Promise<MessageShape<O>> {
  let resolve: (response: MessageShape<O>) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const answered = new Promise<MessageShape<O>>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  const call = client.makeClientStreamRequest<Uint8Array, MessageShape<O>>(
    method,
    (message) => Buffer.from(message.buffer, message.byteOffset, message.byteLength),
    (response) => fromBinary(output, response),
    metadata,
    (error, response) => (error ? reject(error) : resolve(response as MessageShape<O>)),
  );
  for (const message of messages) if (!call.write(message)) await Promise.race([once(call, "drain"), answered]);
  call.end();
  return answered;
}
