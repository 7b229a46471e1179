/** Certificates from files: read and checked as a whole, and read again when they change. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import * as fs from "node:fs/promises";
import type { TlsFiles } from "../config.js";
import type { Logger } from "../log.js";

/** PEM, ready for a TLS context. */
export interface TlsMaterial {
  cert: string;
  key: string;
  /** Client certificates must be signed by one of these; undefined: none are asked for. */
  ca: string | undefined;
  /** Of the server's own certificate. */
  expires: Date;
}

export interface TlsReloader {
  /** What new connections see. */
  current(): TlsMaterial;
  /** Looks at the files now. Never throws: files that cannot be used are logged, and the last good ones stay. */
  reload(): Promise<void>;
  /** Told of each replacement. */
  onChange(listener: (material: TlsMaterial) => void): void;
  close(): void;
}

/**
 * Between two looks at the files. Their contents are compared, not watched for events: secrets that are mounted into a
 * container are replaced by exchanging a symbolic link two directories above, which no event of the file tells.
 */
const pollMs = 5_000;

/** Throws an Error that names the setting, the file and what is wrong with it. */
export async function readTls(files: TlsFiles): Promise<TlsMaterial> {
  const cert = await readFile("FROSTLINE_TLS_CERT", files.cert);
  const key = await readFile("FROSTLINE_TLS_KEY", files.key);
  const ca = files.clientCa === undefined ? undefined : await readFile("FROSTLINE_TLS_CLIENT_CA", files.clientCa);
  const certificate = parse("FROSTLINE_TLS_CERT", files.cert, () => new X509Certificate(cert));
  const privateKey = parse("FROSTLINE_TLS_KEY", files.key, () => createPrivateKey(key));
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new Error(
      `The private key in ${files.key} (FROSTLINE_TLS_KEY) does not belong to the certificate in ${files.cert} (FROSTLINE_TLS_CERT). Replace both together.`,
    );
  }
  assertInTime("FROSTLINE_TLS_CERT", files.cert, certificate);
  if (ca !== undefined) {
    const file = files.clientCa as string;
    assertInTime(
      "FROSTLINE_TLS_CLIENT_CA",
      file,
      parse("FROSTLINE_TLS_CLIENT_CA", file, () => new X509Certificate(ca)),
    );
  }
  return { cert, key, ca, expires: new Date(certificate.validTo) };
}

/** Reads the files, and goes on looking at them. Throws as readTls does. */
export async function watchTls(files: TlsFiles, log: Logger): Promise<TlsReloader> {
  let current = await readTls(files);
  let lastProblem: string | undefined;
  const listeners: ((material: TlsMaterial) => void)[] = [];
  const look = async () => {
    try {
      const found = await readTls(files);
      lastProblem = undefined;
      if (found.cert === current.cert && found.key === current.key && found.ca === current.ca) return;
      for (const listener of listeners) listener(found);
      current = found;
      log.info({ expires: found.expires }, "TLS: the files were replaced; new connections see the new ones");
    } catch (error) {
      // Certificate and key are seldom replaced in one instant: the next look finds both. Said once, not at each look.
      const problem = (error as Error).message;
      if (problem !== lastProblem) log.warn({ problem }, "TLS: the files cannot be used; the last good ones stay");
      lastProblem = problem;
    }
  };
  // One after the other: an older look must not put older files back.
  let looking = Promise.resolve();
  const reload = () => {
    looking = looking.then(look);
    return looking;
  };
  const timer = setInterval(reload, pollMs);
  timer.unref();
  return {
    current: () => current,
    reload,
    onChange: (listener) => void listeners.push(listener),
    close: () => clearInterval(timer),
  };
}

async function readFile(setting: string, file: string): Promise<string> {
  try {
    return await fs.readFile(file, "utf8");
  } catch (error) {
    throw new Error(`${setting} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** The parser's own words are left out: they may quote what the file says. */
function parse<T>(setting: string, file: string, work: () => T): T {
  try {
    return work();
  } catch {
    throw new Error(`${setting}: ${file} is not usable PEM. A certificate begins with BEGIN CERTIFICATE, a key must have no passphrase.`);
  }
}

function assertInTime(setting: string, file: string, certificate: X509Certificate): void {
  if (Date.parse(certificate.validTo) <= Date.now()) {
    throw new Error(`${setting}: the certificate in ${file} expired on ${certificate.validTo}. Put a new one there.`);
  }
  if (Date.parse(certificate.validFrom) > Date.now()) {
    throw new Error(`${setting}: the certificate in ${file} is valid from ${certificate.validFrom} only. Is this machine's clock right?`);
  }
}
