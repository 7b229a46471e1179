/** Reads the issuer's public keys, from wherever they are, as text: a JSON Web Key Set. */
import * as fs from "node:fs/promises";
import { isSafeUrl, type TokenKeySource } from "../../config-tokens.js";

const timeoutMs = 5_000;
/** The largest there are, with certificates, have some 30 KiB. */
const sizeBytesAtMost = 1024 * 1024;

/** Throws an Error that says what cannot be read and why. */
export async function readKeys(source: TokenKeySource): Promise<string> {
  switch (source.kind) {
    case "file":
      return readKeyFile(source.path);
    case "url":
      return readUrl(source.url);
    case "discovery":
      return readUrl(await discover(source.url, source.issuer));
  }
}

async function readKeyFile(file: string): Promise<string> {
  return fs.readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new Error(`FROSTLINE_OIDC_JWKS cannot be read: ${error.message}`, { cause: error });
  });
}

/** Each time anew: where the keys are may change as well. */
async function discover(url: string, issuer: string): Promise<string> {
  const document = parseObject(await readUrl(url), url);
  if (document.issuer !== issuer) {
    throw new Error(`${url} speaks of another issuer than FROSTLINE_OIDC_ISSUER. Set that to what it says, to the letter.`);
  }
  const { jwks_uri: keysUrl } = document;
  if (typeof keysUrl !== "string" || !isSafeUrl(keysUrl)) throw new Error(`${url} has no jwks_uri that is an https:// URL.`);
  return keysUrl;
}

async function readUrl(url: string): Promise<string> {
  try {
    // A redirect could lead to plaintext.
    const response = await fetch(url, {
      redirect: "error",
      signal: AbortSignal.timeout(timeoutMs),
      headers: { accept: "application/json" },
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`it answers ${response.status}`);
    }
    return await readBounded(response);
  } catch (error) {
    throw new Error(`${url} cannot be read: ${reasonOf(error as Error)}`, { cause: error });
  }
}

async function readBounded(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const part of response.body ?? []) {
    sizeBytes += part.length;
    if (sizeBytes > sizeBytesAtMost) throw new Error(`it has more than ${sizeBytesAtMost} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** fetch's own message is "fetch failed", and its cause says why. */
function reasonOf(error: Error): string {
  return error.cause instanceof Error && error.cause.message !== "" ? error.cause.message : error.message;
}

function parseObject(text: string, url: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Said below.
  }
  throw new Error(`${url} is not a JSON object.`);
}
