/** Signatures as Standard Webhooks has them: HMAC-SHA256 of id, time and body, with a secret that is written `whsec_<base64>`. Pure, but for new secrets. */
import { createHmac, randomBytes } from "node:crypto";

const secretPrefix = "whsec_";
const secretBytes = 32;

export function newSecret(): string {
  return secretPrefix + randomBytes(secretBytes).toString("base64");
}

/** The three headers. During a rotation there are two secrets, and a receiver that knows either is content. */
export function signedHeaders(secrets: readonly string[], messageId: string, unixSeconds: number, body: string): Record<string, string> {
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(secretPrefix.length), "base64");
    return `v1,${createHmac("sha256", key).update(`${messageId}.${unixSeconds}.${body}`, "utf8").digest("base64")}`;
  });
  return { "webhook-id": messageId, "webhook-timestamp": String(unixSeconds), "webhook-signature": signatures.join(" ") };
}
