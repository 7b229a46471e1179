/** Who calls, and may they: settled before a service, or any of a stream's body, is looked at. */
import type { Interceptor } from "@connectrpc/connect";
import type { Pool } from "pg";
import { DomainError } from "../errors.js";
import type { Logger } from "../log.js";
import type { Metrics } from "../metrics/metrics.js";
import { callContextKey } from "../rpc/context.js";
import { authenticate, type Caller } from "../tenancy/keys.js";
import { requestIdKey } from "./guard.js";
import { peerKey } from "./peer.js";
import { type Access, access } from "./scopes.js";

/**
 * Puts the caller into the call's context. Throws UNAUTHENTICATED or PERMISSION_DENIED. Caches nothing: a key that was
 * revoked is refused from the next call on. Who is refused is logged: when, from where and why, never with what key.
 */
export function authentication(pool: Pool, log: Logger, metrics: Metrics): Interceptor {
  return (next) => async (request) => {
    const method = `${request.service.typeName}/${request.method.name}`;
    const needed = access.get(method);
    if (needed === undefined) throw new Error(`no scope is set for ${method}`);
    const requestId = request.contextValues.get(requestIdKey);
    const { address: peer, certificateRefused } = request.contextValues.get(peerKey);
    try {
      assertCertificate(certificateRefused);
      if (!needed.anyone) {
        const caller = await identify(pool, request.header.get("authorization"));
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

async function identify(pool: Pool, header: string | null): Promise<Caller> {
  const caller = await authenticate(pool, bearer(header));
  if (caller === undefined) {
    throw unauthenticated("The key is unknown, revoked or expired. Ask an admin of your tenant for a new one.", "KEY_INVALID");
  }
  return caller;
}

function bearer(header: string | null): string {
  const secret = /^Bearer +(\S+)$/i.exec(header ?? "")?.[1];
  if (secret === undefined) throw unauthenticated("The call carries no key. Send it as `authorization: Bearer <key>`.", "KEY_MISSING");
  return secret;
}

function unauthenticated(message: string, reason: string): DomainError {
  return new DomainError("UNAUTHENTICATED", message, { reason });
}

function assertAllowed(caller: Caller, needed: Access, method: string): void {
  if (!caller.scopes.includes("admin") && !needed.scopes.some((scope) => caller.scopes.includes(scope))) {
    const scopes = needed.scopes.join(" or ");
    throw new DomainError(
      "PERMISSION_DENIED",
      `${method} needs a key with the scope ${scopes}; this one has ${caller.scopes.join(", ")}.`,
      {
        reason: "SCOPE_MISSING",
        metadata: { needed: needed.scopes.join(",") },
      },
    );
  }
  if (needed.platform && !caller.isPlatform) {
    throw new DomainError("PERMISSION_DENIED", `${method} needs an admin key of the platform tenant.`, { reason: "NOT_PLATFORM" });
  }
}
