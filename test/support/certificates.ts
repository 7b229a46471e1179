/** X.509 certificates for tests, written by hand in DER: Node signs, but does not make them, and an expired one must be possible. */
import { createPrivateKey, generateKeyPairSync, sign, X509Certificate } from "node:crypto";

export interface Issued {
  /** PEM. */
  cert: string;
  key: string;
  name: string;
}

export interface IssueOptions {
  /** Undefined: signed by itself, and allowed to sign others. */
  issuer?: Issued;
  notBefore?: Date;
  notAfter?: Date;
}

const dayMs = 86_400_000;
let serial = Date.now();

/** Good for 127.0.0.1 and localhost, from yesterday to tomorrow unless told otherwise. */
export function issue(name: string, options: IssueOptions = {}): Issued {
  const { issuer, notBefore = new Date(Date.now() - dayMs), notAfter = new Date(Date.now() + dayMs) } = options;
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = sequence(oid("2a8648ce3d040302"));
  const body = sequence(
    tagged(0xa0, integer(2)),
    integer(++serial),
    algorithm,
    distinguishedName(issuer?.name ?? name),
    sequence(time(notBefore), time(notAfter)),
    distinguishedName(name),
    publicKey.export({ type: "spki", format: "der" }),
    tagged(0xa3, sequence(basicConstraints(issuer === undefined), alternativeNames())),
  );
  const key = privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  const signature = sign("sha256", body, createPrivateKey(issuer?.key ?? key));
  const der = sequence(body, algorithm, tagged(0x03, Buffer.concat([Buffer.of(0), signature])));
  const cert = `-----BEGIN CERTIFICATE-----\n${der.toString("base64").replace(/.{64}(?=.)/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
  return { cert, key, name };
}

export function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256;
}

function tagged(tag: number, content: Buffer): Buffer {
  if (content.length < 0x80) return Buffer.concat([Buffer.of(tag, content.length), content]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  const significant = length.subarray(length.findIndex((byte) => byte !== 0));
  return Buffer.concat([Buffer.of(tag, 0x80 | significant.length), significant, content]);
}

function sequence(...parts: Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(parts));
}

function integer(value: number): Buffer {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
  return tagged(0x02, (bytes[0] as number) < 0x80 ? bytes : Buffer.concat([Buffer.of(0), bytes]));
}

function oid(hex: string): Buffer {
  return tagged(0x06, Buffer.from(hex, "hex"));
}

function time(date: Date): Buffer {
  return tagged(0x17, Buffer.from(`${date.toISOString().slice(2, 19).replace(/[-T:]/g, "")}Z`));
}

function distinguishedName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid("550403"), tagged(0x0c, Buffer.from(name)))));
}

function basicConstraints(mayIssue: boolean): Buffer {
  const value = mayIssue ? sequence(Buffer.of(0x01, 1, 0xff)) : sequence();
  return sequence(oid("551d13"), Buffer.of(0x01, 1, 0xff), tagged(0x04, value));
}

function alternativeNames(): Buffer {
  const names = sequence(tagged(0x82, Buffer.from("localhost")), tagged(0x87, Buffer.of(127, 0, 0, 1)));
  return sequence(oid("551d11"), tagged(0x04, names));
}
