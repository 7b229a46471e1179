/**
 * Where master keys are: what wraps the tenants' data keys. A key management service has them and never gives them away; here is what
 * it has to do. src/secrets/local-kms.ts does it with a file.
 */

export interface WrappedKey {
  /** Which master key wrapped it, with a prefix that says whose: `local:2026-11`. Kept in `tenant.kms_ref`. */
  ref: string;
  /** Text, as `tenant.encrypted_dek` keeps it. */
  wrapped: string;
}

/** Calls may go over a network: each may take long, and fail with FAILED_PRECONDITION (set up wrongly) or UNAVAILABLE. */
export interface Kms {
  /** That of the master key which wraps now. */
  newestRef(): Promise<string>;
  /** Wraps a data key of 32 bytes with the newest master key. `context` is bound to it, and needed to unwrap it. */
  wrap(dataKey: Buffer, context: string): Promise<WrappedKey>;
  /** Throws FAILED_PRECONDITION when it has no such master key, or the text was not wrapped with it for this context. */
  unwrap(key: WrappedKey, context: string): Promise<Buffer>;
}
