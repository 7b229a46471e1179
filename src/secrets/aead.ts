/** AES-256-GCM over small texts. Pure, but for the random nonce. */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

export const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/** base64url of nonce (12 bytes, random), ciphertext, and tag (16 bytes). `context` is authenticated, not contained. */
export function encrypt(key: Buffer, plaintext: Buffer, context: string): string {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
  cipher.setAAD(Buffer.from(context, "utf8"));
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]).toString("base64url");
}

/** Undefined when the key, the text or the context is another. */
export function decrypt(key: Buffer, text: string, context: string): Buffer | undefined {
  const bytes = Buffer.from(text, "base64url");
  // Buffer.from passes over what is no base64url: only the one text that encrypt() returned is taken.
  if (bytes.length < nonceBytes + tagBytes || bytes.toString("base64url") !== text) return undefined;
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes });
  decipher.setAAD(Buffer.from(context, "utf8"));
  decipher.setAuthTag(bytes.subarray(-tagBytes));
  const start = decipher.update(bytes.subarray(nonceBytes, -tagBytes));
  try {
    return Buffer.concat([start, decipher.final()]);
  } catch {
    // The one thing that final() throws for: the tag does not fit.
    return undefined;
  }
}
