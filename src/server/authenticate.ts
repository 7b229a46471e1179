/** Who calls, and may they: settled before a service, or any of a stream's body, is looked at. */
import type { Interceptor } from "@connectrpc/connect";
import type { Pool } from "pg";
import { DomainError } from "../errors.js";
import { callContextKey } from "../rpc/context.js";
import { authenticate, type Caller } from "../tenancy/keys.js";
import { requestIdKey } from "./guard.js";
import { type Access, access } from "./scopes.js";

/** Puts the caller into the call's context. Throws UNAUTHENTICATED or PERMISSION_DENIED. Caches nothing. */
export function authentication(pool: Pool): Interceptor {
  return (next) => async (request) => {
    const secret = bearer(request.header.get("authorization"));
    const caller = await authenticate(pool, secret);
    if (caller === undefined) {
      throw unauthenticated("The key is unknown, revoked or expired. Ask an admin of your tenant for a new one.", "KEY_INVALID");
    }
    const method = `${request.service.typeName}/${request.method.name}`;
    const needed = access.get(method);
    if (needed === undefined) throw new Error(`no scope is set for ${method}`);
    assertAllowed(caller, needed, method);
    request.contextValues.set(callContextKey, { ...caller, requestId: request.contextValues.get(requestIdKey) });
    return next(request);
  };
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
