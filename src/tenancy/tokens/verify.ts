/** One token: is it the issuer's, in time, for this service; and what does it claim? */
import { decodeJwt, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import type { TokenSettings } from "../../config-tokens.js";
import { tokenCallerId } from "../actor.js";
import { type KeyScope, keyScopes } from "../keys.js";
import { malformedToken, missingClaim, toRefusal } from "./refusals.js";

export interface VerifiedToken {
  /** Code or id, as claimed. */
  tenant: string;
  scopes: KeyScope[];
  /** See tokenCallerId. */
  callerId: string;
  /** From then on it is refused, in ms since 1970. */
  expiresMs: number;
}

/** OpenID Connect's own bound. */
const subjectCharsAtMost = 255;
/** Codes and UUIDs are shorter. */
const tenantCharsAtMost = 64;
const control = /[\p{Cc}\u2028\u2029]/u;

/** Throws UNAUTHENTICATED, and UNAVAILABLE while the issuer's keys cannot be had. */
export async function verifyToken(settings: TokenSettings, findKey: JWTVerifyGetKey, token: string): Promise<VerifiedToken> {
  try {
    assertIssuer(settings, token);
    const { payload } = await jwtVerify(token, findKey, {
      algorithms: settings.algorithms,
      issuer: settings.issuer,
      audience: settings.audience,
      clockTolerance: settings.clockToleranceSeconds,
      requiredClaims: ["exp", "sub"],
    });
    return readClaims(settings, payload);
  } catch (error) {
    throw toRefusal(error);
  }
}

/** Before its key is looked for: a stranger's token must not make this server ask the issuer for keys. */
function assertIssuer({ issuer }: TokenSettings, token: string): void {
  const payload = decodeJwt(token);
  if (payload.iss === issuer) return;
  throw new errors.JWTClaimValidationFailed("another issuer", payload, "iss", payload.iss === undefined ? "missing" : "check_failed");
}

function readClaims(settings: TokenSettings, payload: JWTPayload): VerifiedToken {
  return {
    tenant: text(payload, settings.tenantClaim, tenantCharsAtMost),
    scopes: scopesOf(settings, payload[settings.scopeClaim]),
    callerId: tokenCallerId(settings.issuer, text(payload, "sub", subjectCharsAtMost)),
    expiresMs: ((payload.exp as number) + settings.clockToleranceSeconds) * 1000,
  };
}

function text(payload: JWTPayload, claim: string, charsAtMost: number): string {
  const value = Object.hasOwn(payload, claim) ? payload[claim] : undefined;
  if (value === undefined) throw missingClaim(claim);
  if (typeof value !== "string" || value === "") throw missingClaim(claim, "is not a text");
  if (value.length > charsAtMost) throw missingClaim(claim, `has more than ${charsAtMost} characters`);
  if (control.test(value)) throw malformedToken();
  return value;
}

/** A text with spaces, as in OAuth, or a list. What is no scope of ours is another service's. */
function scopesOf({ scopePrefix }: TokenSettings, claim: unknown): KeyScope[] {
  const names: unknown[] = typeof claim === "string" ? claim.split(" ") : Array.isArray(claim) ? claim : [];
  return keyScopes.filter((scope) => names.includes(`${scopePrefix}${scope}`));
}
