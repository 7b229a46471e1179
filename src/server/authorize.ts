/** May the caller of a method call it? */
import type { DescMethod } from "@bufbuild/protobuf";
import { DomainError } from "../errors.js";
import type { Caller } from "../tenancy/keys.js";
import { type Credentials, type Identify, unauthenticated } from "./identify.js";
import { type Access, access } from "./scopes.js";

/**
 * Who calls; undefined for a method that needs no key. Throws UNAUTHENTICATED, PERMISSION_DENIED, and what `identify` throws.
 * Caches no key: one that was revoked is refused from the next call on.
 */
export async function authorize(
  { parent, name }: DescMethod,
  identify: Identify,
  credentials: Credentials,
  certificateRefused: string | undefined,
): Promise<Caller | undefined> {
  const method = `${parent.typeName}/${name}`;
  const needed = access.get(method);
  if (needed === undefined) throw new Error(`no scope is set for ${method}`);
  assertCertificate(certificateRefused);
  if (needed.anyone) return undefined;
  const caller = await identify(credentials);
  assertAllowed(caller, needed, method);
  return caller;
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
