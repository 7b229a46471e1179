/** Sends requests as bytes, over HTTP/2 and HTTP/1.1, and tells what came back. No library that would not send what is wrong. */
import * as http from "node:http";
import * as http2 from "node:http2";
import { Code } from "@connectrpc/connect";
import type { EncodedRequest } from "./fuzz-encode.js";

export interface Answer {
  /** A gRPC status; HTTP and the status of what was answered without one; or what happened instead of an answer. */
  status: string;
  /** What the server said. */
  detail: string;
  /** Bytes that came before the status, without the frames. */
  message: Buffer;
}

export interface Target {
  /** host:port, HTTP/2. */
  address: string;
  httpUrl: string;
}

interface Received {
  httpStatus: number;
  headers: Record<string, unknown>;
  trailers: Record<string, unknown>;
  body: Buffer;
  /** Of HTTP/2. */
  resetCode?: number;
  /** It was enough to see the answer begin. */
  left: boolean;
}

/** Every answer is there by then: the server gives a request that is cut off two seconds, and the erasing of a share 20. */
const answerMs = 30_000;
const sessionsAtMost = 4;
/** In MB. With Node's own this end refuses streams while large messages are on their way. */
const maxSessionMemory = 200;
const socketsAtMost = 8;

export class FuzzClient {
  readonly #target: Target;
  readonly #sessions: (http2.ClientHttp2Session | undefined)[] = new Array(sessionsAtMost).fill(undefined);
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: socketsAtMost });
  #next = 0;

  constructor(target: Target) {
    this.#target = target;
  }

  /** Of a call without an end, until it has begun to answer. Never rejects. */
  async send(request: EncodedRequest, options: { isHttp1: boolean; isEndless: boolean }): Promise<Answer> {
    const nothing = { detail: "", message: Buffer.alloc(0) };
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<Answer>((resolve) => {
      timer = setTimeout(() => resolve({ status: "NO ANSWER", ...nothing }), answerMs);
    });
    const sendOnce = () => (options.isHttp1 ? this.#overHttp1(request, options.isEndless) : this.#overHttp2(request, options.isEndless));
    // A connection may have been told to go elsewhere just then. A request that breaks two is a finding.
    const sent = sendOnce().catch(sendOnce);
    const answer = sent.then(
      (received) => {
        const answer = read(received);
        return answer.status === "NO STATUS" ? { ...answer, detail: `the stream was closed (${received.resetCode})` } : answer;
      },
      (error: unknown) => ({ ...nothing, status: "BROKEN", detail: String(error) }),
    );
    return Promise.race([answer, late]).finally(() => clearTimeout(timer));
  }

  close(): void {
    for (const session of this.#sessions) session?.destroy();
    this.#agent.destroy();
  }

  #session(): http2.ClientHttp2Session {
    this.#next = (this.#next + 1) % sessionsAtMost;
    const open = this.#sessions[this.#next];
    if (open !== undefined && !open.closed && !open.destroyed) return open;
    const session = http2.connect(`http://${this.#target.address}`, { maxSessionMemory });
    // Its streams tell.
    session.on("error", () => {});
    this.#sessions[this.#next] = session;
    return session;
  }

  #overHttp2({ path, headers, body }: EncodedRequest, isEndless: boolean): Promise<Received> {
    return new Promise((resolve, reject) => {
      const stream = this.#session().request({ ":method": "POST", ":path": path, ...headers });
      const received: Received = { httpStatus: 0, headers: {}, trailers: {}, body: Buffer.alloc(0), left: false };
      const parts: Buffer[] = [];
      stream.on("response", (answer) => {
        received.httpStatus = answer[":status"] ?? 0;
        received.headers = answer;
      });
      stream.on("trailers", (trailers) => (received.trailers = trailers));
      stream.on("data", (part: Buffer) => {
        parts.push(part);
        if (!isEndless) return;
        received.left = true;
        stream.close(http2.constants.NGHTTP2_CANCEL);
      });
      stream.on("error", reject);
      stream.on("close", () => {
        if (received.httpStatus === 0) reject(new Error(`the stream was closed (${stream.rstCode}) without an answer`));
        else resolve({ ...received, body: Buffer.concat(parts), ...(stream.rstCode === undefined ? {} : { resetCode: stream.rstCode }) });
      });
      stream.end(body);
    });
  }

  #overHttp1({ path, headers, body }: EncodedRequest, isEndless: boolean): Promise<Received> {
    return new Promise((resolve, reject) => {
      const { te: _, ...rest } = headers;
      const request = http.request(`${this.#target.httpUrl}${path}`, { method: "POST", headers: rest, agent: this.#agent }, (response) => {
        const parts: Buffer[] = [];
        const received = () => ({
          httpStatus: response.statusCode ?? 0,
          headers: response.headers,
          trailers: response.trailers,
          body: Buffer.concat(parts),
        });
        response.on("data", (part: Buffer) => {
          parts.push(part);
          if (!isEndless) return;
          resolve({ ...received(), left: true });
          request.destroy();
        });
        response.on("end", () => resolve({ ...received(), left: false }));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
  }
}

const codes = Object.values(Code).filter((code): code is Code => typeof code === "number");
const connectCodes = new Map(codes.map((code): [string, string] => [snake(Code[code]), upper(Code[code])]));

function snake(name: string): string {
  return name.replace(/(?<!^)([A-Z])/g, "_$1").toLowerCase();
}

function upper(name: string): string {
  return snake(name).toUpperCase();
}

function read({ httpStatus, headers, trailers, body, left }: Received): Answer {
  const type = String(headers["content-type"] ?? "");
  if (left) return { status: "OK", detail: "left", message: body };
  if (/^application\/grpc/.test(type)) return readGrpc(type.startsWith("application/grpc-web"), headers, trailers, body);
  if (type.startsWith("application/connect+")) return readConnectStream(body);
  if (httpStatus === 200) return { status: "OK", detail: "", message: body };
  const { code, message = "" } = parse(body);
  return { status: connectCodes.get(code ?? "") ?? `HTTP ${httpStatus}`, detail: message, message: Buffer.alloc(0) };
}

/** What is no JSON has no code. */
function parse(body: Buffer): { code?: string; message?: string } {
  try {
    return JSON.parse(body.toString()) as { code?: string; message?: string };
  } catch {
    return {};
  }
}

function readGrpc(isWeb: boolean, headers: Record<string, unknown>, trailers: Record<string, unknown>, body: Buffer): Answer {
  const frames = framesOf(body);
  const last = frames.find(({ flags }) => (flags & 0x80) !== 0);
  const inBody = isWeb && last ? headerLines(last.payload.toString("latin1")) : {};
  const found = { ...headers, ...trailers, ...inBody };
  const code = found["grpc-status"];
  const message = Buffer.concat(frames.filter(({ flags }) => flags === 0).map(({ payload }) => payload));
  if (code === undefined) return { status: "NO STATUS", detail: "", message };
  return {
    status: code === "0" ? "OK" : upper(Code[Number(code)] ?? `code ${code}`),
    detail: decodeURIComponent(String(found["grpc-message"] ?? "")),
    message,
  };
}

function readConnectStream(body: Buffer): Answer {
  const frames = framesOf(body);
  const end = frames.find(({ flags }) => flags === 2);
  const message = Buffer.concat(frames.filter(({ flags }) => flags === 0).map(({ payload }) => payload));
  if (end === undefined) return { status: "NO STATUS", detail: "", message };
  const { error } = parse(end.payload) as { error?: { code: string; message?: string } };
  return { status: error === undefined ? "OK" : (connectCodes.get(error.code) ?? error.code), detail: error?.message ?? "", message };
}

function framesOf(body: Buffer): { flags: number; payload: Buffer }[] {
  const frames = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const length = body.readUInt32BE(at + 1);
    frames.push({ flags: body[at] as number, payload: body.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return frames;
}

function headerLines(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split("\r\n")
      .filter((line) => line.includes(":"))
      .map((line) => [line.slice(0, line.indexOf(":")).trim().toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
}
