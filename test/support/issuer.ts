/** An issuer of tokens: a real HTTP server with a discovery document and its public keys, and the private keys to sign with. */
import { once } from "node:events";
import * as http from "node:http";
import * as https from "node:https";
import type { AddressInfo } from "node:net";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import type { Issued } from "./certificates.js";

export interface SigningKey {
  kid: string;
  alg: string;
  privateKey: CryptoKey;
  publicJwk: JWK;
}

export interface Issuer {
  /** Its name and address; what tokens have as `iss`. */
  url: string;
  jwksUrl: string;
  /** Requests for its keys so far. */
  keyRequests(): number;
  /** The keys that it publishes; the first signs. */
  keys: SigningKey[];
  /** Answers every request with this status, while it is set. */
  status: number | undefined;
  /** What it says its keys are at, instead of the truth. */
  discovery: Record<string, unknown>;
  /** A token that a server would take, unless `claims` (undefined removes one) or `header` spoil it. */
  token(claims: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
  close(): Promise<void>;
}

export const audience = "frostline-tests";
let keyNo = 0;

export async function signingKey(alg = "ES256"): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  keyNo += 1;
  const kid = `key-${keyNo}`;
  return { kid, alg, privateKey, publicJwk: { ...(await exportJWK(publicKey)), kid, alg, use: "sig" } };
}

/** Over TLS with a certificate, in plaintext on loopback without. */
export async function startIssuer(certificate?: Issued): Promise<Issuer> {
  let keyRequests = 0;
  const answer: http.RequestListener = (request, response) => {
    if (request.url === "/keys") keyRequests += 1;
    response.writeHead(issuer.status ?? 200, { "content-type": "application/json", connection: "close" });
    const discovery = { issuer: issuer.url, jwks_uri: issuer.jwksUrl, ...issuer.discovery };
    const known = { "/keys": { keys: issuer.keys.map(({ publicJwk }) => publicJwk) }, "/.well-known/openid-configuration": discovery };
    response.end(JSON.stringify(known[request.url as keyof typeof known] ?? {}));
  };
  const server = certificate === undefined ? http.createServer(answer) : https.createServer(certificate, answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `${certificate === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const issuer: Issuer = {
    url,
    jwksUrl: `${url}/keys`,
    keyRequests: () => keyRequests,
    keys: [await signingKey()],
    status: undefined,
    discovery: {},
    token: (claims, header) => sign(issuer.keys[0] as SigningKey, { iss: url, ...claims }, header),
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return issuer;
}

/** Good for five minutes; see Issuer.token. */
export function sign(key: SigningKey, claims: Record<string, unknown>, header: Record<string, unknown> = {}): Promise<string> {
  const nowSeconds = Math.floor(Date.now() / 1000);
  const payload = { aud: audience, sub: "ada@example.com", scope: "openid reader", iat: nowSeconds, exp: nowSeconds + 300, ...claims };
  return new SignJWT(payload).setProtectedHeader({ alg: key.alg, kid: key.kid, ...header }).sign(key.privateKey);
}
