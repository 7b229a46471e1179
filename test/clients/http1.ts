/** What a browser or curl can do: Connect in JSON and gRPC-Web in binary, over HTTP/1.1, by fetch. */
import { type DescMethod, fromBinary, fromJson, toBinary, toJson } from "@bufbuild/protobuf";
import { services } from "../../src/rpc/routes.js";
import type { Scope } from "../support/tenant.js";
import { type Json, runInJson } from "./in-json.js";
import type { ForeignClient, Scenario } from "./scenario.js";

/** Of an enveloped message: the last of a stream carries how it ended. */
const connectEnd = 0b10;
const grpcWebTrailers = 0x80;
const binaryOnly = new Set(["ScanService/PushScan", "AuditService/PushAudit"]);

export const connectHttp1: ForeignClient = {
  name: "Connect over HTTP/1.1",
  missing: () => undefined,
  run(scenario) {
    const stream = async (scope: Scope, method: string, requests: Json[]) => {
      const { contentType, encode, decode } = codecOf(method);
      const body = Buffer.concat(requests.map((request) => envelope(encode(request))));
      const frames = readEnvelopes(await post(scenario, scope, method, contentType, body));
      const end = JSON.parse(String(frames.at(-1)?.bytes));
      if (frames.at(-1)?.flags !== connectEnd || end.error !== undefined) throw new Error(`${method}: ${JSON.stringify(end)}`);
      return frames.slice(0, -1).map(({ bytes }) => decode(bytes));
    };
    return runInJson(scenario, {
      unary: async (scope, method, request) =>
        JSON.parse(String(await post(scenario, scope, method, "application/json", Buffer.from(JSON.stringify(request))))),
      clientStream: async (scope, method, requests) => (await stream(scope, method, requests))[0],
      serverStream: (scope, method, request) => stream(scope, method, [request]),
    });
  },
};

/** JSON; of PushScan and PushAudit binary, which alone they take. */
function codecOf(method: string) {
  if (!binaryOnly.has(method)) {
    return {
      contentType: "application/connect+json",
      encode: (request: Json) => Buffer.from(JSON.stringify(request)),
      decode: (bytes: Buffer) => JSON.parse(String(bytes)) as Json,
    };
  }
  return { contentType: "application/connect+proto", ...binaryCodecOf(method) };
}

function binaryCodecOf(method: string) {
  const { input, output } = describeMethod(method);
  return {
    encode: (request: Json) => Buffer.from(toBinary(input, fromJson(input, request))),
    decode: (bytes: Buffer) => toJson(output, fromBinary(output, bytes)) as Json,
  };
}

export const grpcWebHttp1: ForeignClient = {
  name: "gRPC-Web over HTTP/1.1",
  missing: () => undefined,
  run(scenario) {
    const call = async (scope: Scope, method: string, requests: Json[]) => {
      const { encode, decode } = binaryCodecOf(method);
      const body = Buffer.concat(requests.map((request) => envelope(encode(request))));
      const frames = readEnvelopes(await post(scenario, scope, method, "application/grpc-web+proto", body));
      const trailers = String(frames.at(-1)?.bytes);
      if (frames.at(-1)?.flags !== grpcWebTrailers || !/^grpc-status: 0\r?$/m.test(trailers)) throw new Error(`${method}: ${trailers}`);
      return frames.slice(0, -1).map(({ bytes }) => decode(bytes));
    };
    const one = async (answers: Promise<Json[]>) => (await answers)[0];
    return runInJson(scenario, {
      unary: (scope, method, request) => one(call(scope, method, [request])),
      clientStream: (scope, method, requests) => one(call(scope, method, requests)),
      serverStream: (scope, method, request) => call(scope, method, [request]),
    });
  },
};

async function post({ server }: Scenario, scope: Scope, method: string, contentType: string, body: Buffer): Promise<Buffer> {
  const response = await fetch(`${server.httpUrl}/frostline.v1.${method}`, {
    method: "POST",
    headers: { "content-type": contentType, authorization: `Bearer ${server.keys[scope]}` },
    body: new Uint8Array(body),
  });
  const answer = Buffer.from(await response.arrayBuffer());
  if (response.status !== 200) throw new Error(`${method}: HTTP ${response.status} ${answer}`);
  return answer;
}

/** One byte of flags, four of length. */
function envelope(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

function readEnvelopes(body: Buffer): { flags: number; bytes: Buffer }[] {
  const frames: { flags: number; bytes: Buffer }[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    frames.push({ flags: body[at] as number, bytes: body.subarray(at + 5, end) });
    at = end;
  }
  return frames;
}

function describeMethod(name: string): DescMethod {
  const [service, method] = name.split("/");
  const found = services
    .find(({ typeName }) => typeName === `frostline.v1.${service}`)
    ?.methods.find((candidate) => candidate.name === method);
  if (found === undefined) throw new Error(`There is no ${name}.`);
  return found;
}
