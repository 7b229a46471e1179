/** Who calls, and may they: settled before a service, or any of a stream's body, is looked at. */
import type { Interceptor } from "@connectrpc/connect";
import type { Pool } from "pg";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import { callContextKey } from "../rpc/context.js";
import type { Caller } from "../tenancy/keys.js";
import type { Tokens } from "../tenancy/tokens/tokens.js";
import { identify, unauthenticated } from "./identify.js";
import { peerKey } from "./peer.js";
import { requestIdKey } from "./request-id.js";
import { type Access, access } from "./scopes.js";

export interface AuthenticationOptions {
  pool: Pool;
  /** undefined: this server takes none. */
  tokens: Tokens | undefined;
  log: Logger;
  metrics: Metrics;
}

/**
 * Puts the caller into the call's context. Throws UNAUTHENTICATED or PERMISSION_DENIED. Caches no key: one that was
 * revoked is refused from the next call on. Who is refused is logged: when, from where and why, never with what key.
 */
export function authentication({ pool, tokens, log, metrics }: AuthenticationOptions): Interceptor {
  return (next) => async (request) => {
    const method = `${request.service.typeName}/${request.method.name}`;
    const needed = access.get(method);
    if (needed === undefined) throw new Error(`no scope is set for ${method}`);
    const requestId = request.contextValues.get(requestIdKey);
    const { address: peer, certificateRefused, authorizations } = request.contextValues.get(peerKey);
    try {
      assertCertificate(certificateRefused);
      if (!needed.anyone) {
        const caller = await identify(pool, tokens, { header: request.header.get("authorization"), count: authorizations });
        assertAllowed(caller, needed, method);
        request.contextValues.set(callContextKey, { ...caller, requestId });
      }
    } catch (error) {
      if (error instanceof DomainError && (error.code === "UNAUTHENTICATED" || error.code === "PERMISSION_DENIED")) {
        metrics.refused.inc({ reason: error.reason });
        log.info({ requestId, method, peer, code: error.code, reason: error.reason, certificateRefused }, "a call was refused");
      }
      throw error;
    }
    return next(request);
  };
}

function assertCertificate(refused: string | undefined): void {
  if (refused === undefined) return;
  throw unauthenticated(
    `This server asks for a client certificate, and yours will not do (${refused}). Pass one that its operator's authority has signed, in time.`,
    "CERTIFICATE_REFUSED",
  );
}

function assertAllowed(caller: Caller, needed: Access, method: string): void {
  if (!caller.scopes.includes("admin") && !needed.scopes.some((scope) => caller.scopes.includes(scope))) {
    const scopes = needed.scopes.join(" or ");
    throw new DomainError(
      "PERMISSION_DENIED",
      `${method} needs a key or token with the scope ${scopes}; this one has ${caller.scopes.join(", ") || "none"}.`,
      {
        reason: "SCOPE_MISSING",
        metadata: { needed: needed.scopes.join(",") },
      },
    );
  }
  if (needed.platform && !caller.isPlatform) {
    throw new DomainError("PERMISSION_DENIED", `${method} needs an admin key or token of the platform tenant.`, { reason: "NOT_PLATFORM" });
  }
}
