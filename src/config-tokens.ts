/** Settings of bearer tokens: part of config.ts, which reads the environment and calls this. */
import * as path from "node:path";
import { z } from "zod";

/** Tokens of one issuer, and what is read out of them. */
export interface TokenSettings {
  /** Must be a token's `iss`, to the letter. */
  issuer: string;
  /** Must be a token's `aud`, or among it. */
  audience: string;
  keys: TokenKeySource;
  /** Name of the claim with the tenant's code or id. */
  tenantClaim: string;
  /** Name of the claim with the scopes. */
  scopeClaim: string;
  /** What stands before a scope's name in that claim; scopes without it are others' and do not count. */
  scopePrefix: string;
  algorithms: TokenAlgorithm[];
  /** By so much the issuer's clock may differ from this one. */
  clockToleranceSeconds: number;
  /** Between two requests for the issuer's keys that tokens with an unknown key, or failures, bring about. */
  keysCooldownMs: number;
}

/** Where the issuer's public keys (JWKS) are: at a URL, where its discovery document says, or in a file. */
export type TokenKeySource =
  | { kind: "url"; url: string }
  | { kind: "discovery"; url: string; issuer: string }
  /** Absolute. */
  | { kind: "file"; path: string };

/** Asymmetric ones only: with a shared secret, whoever can verify a token can make one. */
const tokenAlgorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"] as const;
export type TokenAlgorithm = (typeof tokenAlgorithms)[number];

const claimName = (fallback: string) => z.string().max(200, "expected at most 200 characters").default(fallback);

const seconds = (fallback: number, least: number, most: number) =>
  z
    .string()
    .default(String(fallback))
    .refine(
      (text) => /^\d{1,4}$/.test(text) && Number(text) >= least && Number(text) <= most,
      `expected a whole number from ${least} to ${most}`,
    )
    .transform(Number);

export const tokenEnvironment = {
  FROSTLINE_OIDC_ISSUER: z
    .string()
    .max(255, "expected at most 255 characters")
    .optional()
    .describe(
      "whose tokens are taken beside API keys, to the letter of their `iss`; unset: no tokens (see [Keys and tokens](operations.md#keys-and-tokens))",
    ),
  FROSTLINE_OIDC_AUDIENCE: z.string().optional().describe("what tokens for this server have as `aud`; needed with an issuer"),
  FROSTLINE_OIDC_JWKS: z
    .string()
    .optional()
    .describe(
      "the issuer's public keys: an https:// URL (http:// on loopback only) or a file; unset: where the issuer's discovery document says",
    ),
  FROSTLINE_OIDC_TENANT_CLAIM: claimName("tenant").describe("the claim with the tenant's code or id"),
  FROSTLINE_OIDC_SCOPE_CLAIM: claimName("scope").describe("the claim with the scopes, a text with spaces or a list"),
  FROSTLINE_OIDC_SCOPE_PREFIX: z
    .string()
    .max(200, "expected at most 200 characters")
    .default("")
    .describe("what stands before `agent`, `operator`, `reader` and `admin` in that claim, for example `frostline:`"),
  FROSTLINE_OIDC_ALGORITHMS: z
    .string()
    .default("RS256,ES256")
    .transform(parseAlgorithms)
    .describe("of signatures; some of RS256 to RS512, PS256 to PS512, ES256 to ES512 and EdDSA"),
  FROSTLINE_OIDC_CLOCK_SECONDS: seconds(30, 0, 300).describe("by so much the issuer's clock may differ, at most 300"),
  FROSTLINE_OIDC_COOLDOWN_SECONDS: seconds(30, 1, 3600).describe(
    "between two requests for the issuer's keys that a token with an unknown key, or a failure, brings about",
  ),
};

type TokenEnvironment = z.output<z.ZodObject<typeof tokenEnvironment>>;

/** undefined: tokens are not taken. Throws an Error that names the setting. */
export function tokenSettings(settings: TokenEnvironment): TokenSettings | undefined {
  const { FROSTLINE_OIDC_ISSUER: issuer, FROSTLINE_OIDC_AUDIENCE: audience, FROSTLINE_OIDC_JWKS: jwks } = settings;
  if (issuer === undefined && audience === undefined && jwks === undefined) return undefined;
  if (issuer === undefined) throw unusable("FROSTLINE_OIDC_ISSUER", "is not set, and tokens are taken of one issuer only.");
  if (audience === undefined) {
    throw unusable("FROSTLINE_OIDC_AUDIENCE", "is not set, and tokens that were made for another service would be taken.");
  }
  return {
    issuer,
    audience,
    keys: keySource(issuer, jwks),
    tenantClaim: settings.FROSTLINE_OIDC_TENANT_CLAIM,
    scopeClaim: settings.FROSTLINE_OIDC_SCOPE_CLAIM,
    scopePrefix: settings.FROSTLINE_OIDC_SCOPE_PREFIX,
    algorithms: settings.FROSTLINE_OIDC_ALGORITHMS,
    clockToleranceSeconds: settings.FROSTLINE_OIDC_CLOCK_SECONDS,
    keysCooldownMs: settings.FROSTLINE_OIDC_COOLDOWN_SECONDS * 1000,
  };
}

function keySource(issuer: string, jwks: string | undefined): TokenKeySource {
  if (jwks === undefined) {
    if (!isSafeUrl(issuer)) {
      throw unusable("FROSTLINE_OIDC_ISSUER", "is not an https:// URL, so its keys cannot be discovered. Set FROSTLINE_OIDC_JWKS.");
    }
    return { kind: "discovery", url: `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, issuer };
  }
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(jwks)) return { kind: "file", path: path.resolve(jwks) };
  if (!isSafeUrl(jwks)) throw unusable("FROSTLINE_OIDC_JWKS", "expected a file or an https:// URL; http:// for loopback only.");
  return { kind: "url", url: jwks };
}

/** Whoever can change the keys on their way can make tokens: https, unless it never leaves the machine. */
export function isSafeUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocol === "https:" || (protocol === "http:" && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname));
}

function parseAlgorithms(text: string, context: z.RefinementCtx): TokenAlgorithm[] {
  const names = text.split(",").map((name) => name.trim());
  const known = tokenAlgorithms.filter((algorithm) => names.includes(algorithm));
  if (known.length !== new Set(names).size) {
    context.addIssue({ code: "custom", message: `expected some of ${tokenAlgorithms.join(", ")}, separated by commas` });
    return z.NEVER;
  }
  return known;
}

function unusable(setting: string, problem: string): Error {
  return new Error(`The settings are not usable:\n  ${setting}: ${problem}`);
}
