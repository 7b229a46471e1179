/** A receiver of webhooks over HTTPS on 127.0.0.1, which checks signatures in its own way and answers as a test tells it. */
import { createHmac, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { issue } from "./certificates.js";

export interface Received {
  id: string;
  timestamp: number;
  /** As it came. */
  signature: string;
  body: string;
  /** Parsed. */
  message: { type: string; timestamp: string; data: Record<string, unknown> };
  path: string;
  headers: IncomingMessage["headers"];
}

export interface Receiver {
  /** https://127.0.0.1:port/hook */
  url: string;
  port: number;
  /** PEM of its own certificate, which is its authority as well. */
  ca: string;
  received: Received[];
  /** Resolves when `enough` holds for what was received; look at it afterwards. */
  until(enough: (received: Received[]) => boolean): Promise<Received[]>;
  close(): Promise<void>;
}

export type AnswerWith = (message: Received, response: ServerResponse) => void;

/** Answers 204 unless told otherwise. */
export async function startReceiver(answer: AnswerWith = (_, response) => void response.writeHead(204).end()): Promise<Receiver> {
  const { cert, key } = issue("receiver");
  const received: Received[] = [];
  const waiting = new Set<() => void>();
  const server = https.createServer({ cert, key }, (request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("error", () => {});
    request.on("end", () => {
      const body = Buffer.concat(parts).toString();
      const {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signature,
      } = request.headers as Record<string, string>;
      const message: Received = {
        id: id ?? "",
        timestamp: Number(timestamp),
        signature: signature ?? "",
        body,
        message: JSON.parse(body),
        path: request.url ?? "",
        headers: request.headers,
      };
      received.push(message);
      answer(message, response);
      for (const look of waiting) look();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `https://127.0.0.1:${port}/hook`,
    port,
    ca: cert,
    received,
    until: (enough) =>
      new Promise((resolve) => {
        const look = () => {
          if (!enough(received)) return;
          waiting.delete(look);
          resolve(received);
        };
        waiting.add(look);
        look();
      }),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** Whether one of the signatures is that of the secret: written after the specification, beside the server's own code. */
export function isSignedWith(secret: string, { id, timestamp, body, signature }: Received): boolean {
  const match = /^whsec_([A-Za-z0-9+/]+=*)$/.exec(secret);
  if (match === null) throw new Error("not a secret of Standard Webhooks");
  const expected = createHmac("sha256", Buffer.from(match[1] as string, "base64"))
    .update([id, timestamp, body].join("."))
    .digest();
  return signature.split(" ").some((one) => {
    const [version, code = ""] = one.split(",");
    const given = Buffer.from(code, "base64");
    return version === "v1" && given.length === expected.length && timingSafeEqual(given, expected);
  });
}
