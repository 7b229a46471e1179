/** Why a token is refused, in words: never with any part of it. */
import { errors } from "jose";
import { DomainError } from "../../errors.js";

/** UNAUTHENTICATED. */
export function refusedToken(reason: string, message: string, metadata: Record<string, string> = {}): DomainError {
  return new DomainError("UNAUTHENTICATED", message, { reason, metadata });
}

export function malformedToken(): DomainError {
  return refusedToken("TOKEN_MALFORMED", "The token is not a signed JSON Web Token. Send it as the issuer gave it, whole.");
}

export function missingClaim(claim: string, problem = "is missing"): DomainError {
  return refusedToken("TOKEN_CLAIM_MISSING", `The token's claim ${claim} ${problem}. Have the issuer add it.`, { claim });
}

/** What jose's errors mean; any other error as it is. */
export function toRefusal(error: unknown): unknown {
  if (error instanceof errors.JWTExpired) {
    return refusedToken("TOKEN_EXPIRED", "The token has expired. Get a new one from its issuer.");
  }
  if (error instanceof errors.JWTClaimValidationFailed) return claimRefusal(error);
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return refusedToken(
      "TOKEN_ALGORITHM",
      "The token is signed with an algorithm that this server does not take (FROSTLINE_OIDC_ALGORITHMS).",
    );
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return refusedToken("TOKEN_SIGNATURE", "The token's signature is not its issuer's: it was changed, or somebody else made it.");
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return refusedToken(
      "TOKEN_KEY_UNKNOWN",
      "The token is signed with a key that its issuer does not publish, or not any more. Get a new one.",
    );
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return refusedToken("TOKEN_KEY_UNKNOWN", "The token does not say which of its issuer's keys signed it (kid).");
  }
  if (error instanceof errors.JOSEError) return malformedToken();
  return error;
}

function claimRefusal({ claim, reason }: errors.JWTClaimValidationFailed): DomainError {
  if (reason === "missing") return missingClaim(claim);
  if (reason === "invalid") return missingClaim(claim, "is not a number");
  switch (claim) {
    case "nbf":
      return refusedToken("TOKEN_NOT_YET_VALID", "The token is not valid yet. Are the clocks of its issuer and of this server right?");
    case "iss":
      return refusedToken("TOKEN_ISSUER", "The token is of another issuer than the one this server trusts (FROSTLINE_OIDC_ISSUER).");
    case "aud":
      return refusedToken("TOKEN_AUDIENCE", "The token was made for another service than this one (FROSTLINE_OIDC_AUDIENCE).");
    default:
      return malformedToken();
  }
}
