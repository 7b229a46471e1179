/** Everything that the servers of a test file put out, searched for secrets; a server that told one cannot be closed without an error. */
import * as http2 from "node:http2";
import type { DestinationStream } from "pino";
import type { LogLevel } from "../../src/config.js";
import { secretsIn } from "./secrets.js";

export interface WatchedOutput {
  /** Takes a piece of it: `where` is said when it tells a secret. */
  search(where: string, text: string): void;
  /** Throws when anything told a secret. */
  assertNone(): void;
}

export function watchOutput(): WatchedOutput {
  const found = new Set<string>();
  return {
    search(where, text) {
      for (const secret of secretsIn(text)) found.add(`${where} has ${secret}: ${about(text)}`);
    },
    assertNone() {
      if (found.size > 0) throw new Error(`A secret was told.\n${[...found].join("\n")}`);
    },
  };
}

/** Throws when what a process has written tells one. */
export function assertNoSecrets(where: string, written: string): void {
  const output = watchOutput();
  for (const line of written.split("\n")) output.search(`a line of ${where}`, line);
  output.assertNone();
}

/** Enough to find the place by, without what may be the secret. */
function about(text: string): string {
  return /"msg":"[^"]*"/.exec(text)?.[0] ?? `${text.length} characters`;
}

const levels: Record<LogLevel, number> = {
  trace: 10,
  debug: 20,
  info: 30,
  warn: 40,
  error: 50,
  fatal: 60,
  silent: Number.POSITIVE_INFINITY,
};

/** For a logger that logs everything: all lines are searched, those from `shown` on go to stderr as usual. */
export function watchedLog(output: WatchedOutput, shown: LogLevel): DestinationStream {
  return {
    write(line) {
      output.search("a log line", line);
      if (Number(/^\{"level":(\d+)/.exec(line)?.[1]) >= levels[shown]) process.stderr.write(line);
    },
  };
}

/** Told of the errors that all servers of this process answer over HTTP/2. */
const listeners = new Set<(text: string) => void>();

/** Until the function returned is called. */
export function watchErrors(output: WatchedOutput): () => void {
  const listen = (text: string) => output.search("an error", text);
  listeners.add(listen);
  return () => listeners.delete(listen);
}

/** Statuses of gRPC are trailers, and are nowhere else in one piece. */
const { addTrailers } = http2.Http2ServerResponse.prototype;
http2.Http2ServerResponse.prototype.addTrailers = function (trailers) {
  const { "grpc-message": message = "", "grpc-status-details-bin": details = "" } = trailers as Record<string, string>;
  const text = `${decodeURIComponent(message)} ${Buffer.from(details, "base64").toString("latin1")}`;
  if (message !== "") for (const listen of listeners) listen(text);
  addTrailers.call(this, trailers);
};
