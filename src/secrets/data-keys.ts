/**
 * Secrets at rest. Each is sealed under its tenant's data key (AES-256-GCM); that key stands wrapped in the tenant's row, and only
 * the key management service can unwrap it. docs/secrets.md has the formats and how keys are rotated.
 */
import { randomBytes } from "node:crypto";
import type { ClientBase } from "pg";
import { DomainError } from "../errors.js";
import { decrypt, encrypt, keyBytes } from "./aead.js";
import type { Kms, WrappedKey } from "./kms.js";
import { lockTenantKeys, readTenantKeys, storeTenantKeys, type TenantKeys } from "./tenant-key.js";

/** Unwrapped keys in memory: those used last. */
const cachedAtMost = 1000;
/** So long a master key that was taken away goes on working here. */
const cachedMs = 300_000;

/** What a secret is and whose: bound to it, so that one put into another row opens nothing. */
export interface SecretPlace {
  tenantId: string;
  /** Table and column. */
  purpose: string;
  rowId: string;
}

/** One of a server. */
export class DataKeys {
  readonly #kms: Kms | undefined;
  /** By tenant and wrapped text: a key that is wrapped anew is looked up anew. In order of use. */
  readonly #cache = new Map<string, { key: Buffer; untilMs: number }>();

  /** Without a KMS everything is refused. */
  constructor(kms: Kms | undefined) {
    this.#kms = kms;
  }

  /** Throws FAILED_PRECONDITION without a master key. */
  get kms(): Kms {
    if (this.#kms === undefined) {
      throw new DomainError(
        "FAILED_PRECONDITION",
        "This server has no master key, and secrets are stored encrypted or not at all. Set FROSTLINE_MASTER_KEY_FILE, on every server, and start it again.",
        { reason: "NO_MASTER_KEY" },
      );
    }
    return this.#kms;
  }

  /**
   * Text to be stored in the same transaction, which is one of the tenant; `s1.<number of the data key>.<ciphertext>`. Makes the
   * tenant's data key if this is its first secret. Throws FAILED_PRECONDITION, UNAVAILABLE.
   */
  async seal(client: ClientBase, place: SecretPlace, secret: string): Promise<string> {
    const keys = await this.#keysToSealWith(client, place.tenantId);
    const key = await this.#unwrap(place.tenantId, keys.current);
    return `s1.${keys.no}.${encrypt(key, Buffer.from(secret, "utf8"), sealContext(place))}`;
  }

  /**
   * What was sealed. Within a transaction of the tenant that took lockTenantKeys(shared) before it read `sealed`.
   * Throws FAILED_PRECONDITION, UNAVAILABLE.
   */
  async open(client: ClientBase, place: SecretPlace, sealed: string): Promise<string> {
    const [version, number, text = ""] = sealed.split(".");
    const keys = await readTenantKeys(client, place.tenantId);
    const wrapped = version !== "s1" ? undefined : wrappedKey(keys, Number(number));
    if (wrapped === undefined) throw unreadable(place);
    const secret = decrypt(await this.#unwrap(place.tenantId, wrapped), text, sealContext(place));
    if (secret === undefined) throw unreadable(place);
    return secret.toString("utf8");
  }

  async #keysToSealWith(client: ClientBase, tenantId: string): Promise<TenantKeys> {
    const kms = this.kms;
    if ((await readTenantKeys(client, tenantId)).no === 0) {
      await lockTenantKeys(client, tenantId, "exclusive");
      const seen = await readTenantKeys(client, tenantId);
      if (seen.no === 0) await storeTenantKeys(client, tenantId, seen, { ...(await newTenantKeys(kms, tenantId)), no: 1 });
    } else {
      await lockTenantKeys(client, tenantId, "shared");
    }
    return readTenantKeys(client, tenantId);
  }

  async #unwrap(tenantId: string, wrapped: WrappedKey): Promise<Buffer> {
    const kms = this.kms;
    const at = `${tenantId} ${wrapped.wrapped}`;
    const cached = this.#cache.get(at);
    this.#cache.delete(at);
    const entry =
      cached !== undefined && cached.untilMs > performance.now()
        ? cached
        : { key: await kms.unwrap(wrapped, tenantId), untilMs: performance.now() + cachedMs };
    this.#cache.set(at, entry);
    for (const [oldest] of this.#cache) {
      if (this.#cache.size <= cachedAtMost) break;
      this.#cache.delete(oldest);
    }
    return entry.key;
  }
}

/** A new data key, wrapped; its number is the caller's to give. */
export async function newTenantKeys(kms: Kms, tenantId: string): Promise<Pick<TenantKeys, "current" | "previous">> {
  return { current: await kms.wrap(randomBytes(keyBytes), tenantId), previous: undefined };
}

function wrappedKey({ no, current, previous }: TenantKeys, wanted: number): WrappedKey | undefined {
  if (wanted === no && no > 0) return current;
  return wanted === no - 1 ? previous : undefined;
}

function sealContext({ tenantId, purpose, rowId }: SecretPlace): string {
  return `frostline secret\n${tenantId}\n${purpose}\n${rowId}`;
}

function unreadable({ purpose, rowId }: SecretPlace): DomainError {
  return new DomainError(
    "FAILED_PRECONDITION",
    `The secret ${purpose} of ${rowId} cannot be opened: it was changed, moved, or sealed under a data key that is gone. Make a new one.`,
    { reason: "SECRET_UNREADABLE" },
  );
}
