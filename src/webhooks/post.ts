/** One HTTP request to a receiver: to an allowed address, within a time, without following it anywhere. */
import * as dns from "node:dns";
import * as http from "node:http";
import * as https from "node:https";
import type { LookupFunction } from "node:net";
import * as tls from "node:tls";
import type { AddressPolicy } from "./addresses.js";
import { answerSizeBytesAtMost, requestMs, retryAfterSecondsAtMost } from "./limits.js";
import { literalHost, refusedWords } from "./target.js";

/** As dns.lookup, which is what serves. */
export type Resolve = (
  hostname: string,
  options: dns.LookupAllOptions,
  callback: (error: NodeJS.ErrnoException | null, addresses: dns.LookupAddress[]) => void,
) => void;

export interface PostOptions {
  policy: AddressPolicy;
  /** PEM of further authorities that receivers' certificates may be signed by. */
  ca?: string | undefined;
  resolve?: Resolve;
  /** Of a whole request; default: requestMs. */
  timeoutMs?: number;
}

export type Answer =
  | { status: number; retryAfterSeconds: number | undefined }
  /** None came; why, in words that name neither the address nor what it led to. */
  | { error: string };

class Refused extends Error {}

/** Never rejects. An abort of `signal` ends it. */
export function post(
  target: string,
  headers: Record<string, string>,
  body: string,
  { policy, ca, resolve = dns.lookup, timeoutMs = requestMs }: PostOptions,
  signal: AbortSignal,
): Promise<Answer> {
  const url = new URL(target);
  const secure = url.protocol === "https:";
  const literal = literalHost(url);
  // For a host in numbers no look-up is made.
  if (literal !== undefined && !policy.allows(literal, secure))
    return Promise.resolve({ error: `The address is refused: ${refusedWords}` });
  const timeout = AbortSignal.timeout(timeoutMs);
  return new Promise((done) => {
    let answer: Answer | undefined;
    const request = (secure ? https : http).request(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "user-agent": "Frostline",
        "content-length": String(Buffer.byteLength(body)),
        ...headers,
      },
      // A connection of its own: what another name led to is not used again.
      agent: false,
      lookup: allowedOnly(resolve, policy, secure),
      signal: AbortSignal.any([signal, timeout]),
      ...(ca === undefined ? {} : { ca: [...tls.rootCertificates, ca] }),
    });
    request.on("response", (response) => {
      answer = { status: response.statusCode ?? 0, retryAfterSeconds: retryAfter(response.headers["retry-after"]) };
      let sizeBytes = 0;
      response.on("data", (data: Buffer) => {
        sizeBytes += data.length;
        if (sizeBytes > answerSizeBytesAtMost) request.destroy();
      });
      // Its status is known; what becomes of its body is not.
      response.on("error", () => {});
    });
    request.on("error", (error) => {
      answer ??= { error: timeout.aborted ? `No answer came within ${timeoutMs / 1000} s.` : errorWords(error) };
    });
    request.on("close", () => done(answer ?? { error: "The connection was closed without an answer." }));
    request.end(body);
  });
}

/** The addresses of a name that may be connected to; what is connected to is one of these, so a name that leads elsewhere the next time gains nothing. */
function allowedOnly(resolve: Resolve, policy: AddressPolicy, secure: boolean): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, found) => {
      if (error !== null) return callback(error, "");
      const allowed = found.filter(({ address }) => policy.allows(address, secure));
      const [first] = allowed;
      if (first === undefined) return callback(new Refused(`The name leads to an address that is refused: ${refusedWords}`), "");
      if (options.all === true) return callback(null, allowed);
      callback(null, first.address, first.family);
    });
  };
}

function errorWords(error: NodeJS.ErrnoException): string {
  if (error instanceof Refused) return error.message;
  const code = error.code ?? "";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return `The name could not be looked up (${code}).`;
  if (/CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO/.test(code)) return `TLS failed (${code}).`;
  return code === "" ? "The request failed." : `The request failed (${code}).`;
}

/** Of the header's two forms only seconds are taken: a date would have the receiver's clock agree. */
function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined || !/^\d{1,9}$/.test(header)) return undefined;
  return Math.min(Number(header), retryAfterSecondsAtMost);
}
