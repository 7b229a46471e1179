/** Master keys in a file, one a line: `<id> <32 random bytes in base64>`. The last one wraps, all unwrap. docs/secrets.md. */
import { randomBytes, randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import { DomainError } from "../errors.js";
import { decrypt, encrypt, keyBytes } from "./aead.js";
import type { Kms, WrappedKey } from "./kms.js";

const prefix = "local:";
const idForm = /^[A-Za-z0-9._-]{1,64}$/;
const sizeBytesAtMost = 64 * 1024;
/** Written by others than the owner, or read by anybody. The group may read: that is how containers are given secrets. */
const modesForbidden = 0o037;

interface MasterKey {
  id: string;
  key: Buffer;
}

/** The file is read each time, so that a key which was added counts at once; what is unwrapped is cached by the caller. */
export class LocalKms implements Kms {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  async newestRef(): Promise<string> {
    return prefix + newest(await readMasterKeys(this.#file)).id;
  }

  async wrap(dataKey: Buffer, context: string): Promise<WrappedKey> {
    const { id, key } = newest(await readMasterKeys(this.#file));
    const ref = prefix + id;
    return { ref, wrapped: `w1.${encrypt(key, dataKey, wrapContext(ref, context))}` };
  }

  async unwrap({ ref, wrapped }: WrappedKey, context: string): Promise<Buffer> {
    const master = (await readMasterKeys(this.#file)).find(({ id }) => prefix + id === ref);
    if (master === undefined)
      throw unusable(`has no key ${JSON.stringify(ref.replace(prefix, ""))}, which a data key is wrapped with. Add it again.`);
    const [version, text] = wrapped.split(".");
    const dataKey = version === "w1" && text !== undefined ? decrypt(master.key, text, wrapContext(ref, context)) : undefined;
    if (dataKey?.length !== keyBytes) {
      throw unusable(`has another key ${JSON.stringify(master.id)} than the one that a data key was wrapped with. Put the old one back.`);
    }
    return dataKey;
  }
}

function wrapContext(ref: string, context: string): string {
  return `frostline data key\n${ref}\n${context}`;
}

function newest(keys: MasterKey[]): MasterKey {
  // readMasterKeys() returns one at least.
  return keys.at(-1) as MasterKey;
}

/** In the order of the lines, one at least. Throws FAILED_PRECONDITION, never with a key in it. */
async function readMasterKeys(file: string): Promise<MasterKey[]> {
  const text = await readPrivate(file);
  const keys: MasterKey[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const [id = "", encoded = "", ...rest] = line.trim().split(/\s+/);
    if (id === "" || id.startsWith("#")) continue;
    const key = Buffer.from(encoded, "base64");
    if (!idForm.test(id) || key.length !== keyBytes || key.toString("base64") !== encoded || rest.length > 0) {
      throw unusable(`has something else than an id and 32 bytes in base64 in line ${index + 1}.`);
    }
    if (keys.some((known) => known.id === id))
      throw unusable(`has the id ${JSON.stringify(id)} twice, the second time in line ${index + 1}.`);
    keys.push({ id, key });
  }
  if (keys.length === 0) throw unusable("has no key.");
  return keys;
}

/** Mode and contents of one open file: what is at the path may be replaced meanwhile. */
async function readPrivate(file: string): Promise<string> {
  const handle = await fs.open(file, "r").catch((error: NodeJS.ErrnoException) => {
    throw unusable(`cannot be read (${error.code}).`);
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw unusable("is not a file.");
    if (process.platform !== "win32" && (stat.mode & modesForbidden) !== 0) {
      throw unusable(`may be read or written by others (mode ${(stat.mode & 0o777).toString(8)}). Set 0600, or 0640.`);
    }
    if (stat.size > sizeBytesAtMost) throw unusable(`is larger than ${sizeBytesAtMost} bytes.`);
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

function unusable(problem: string): DomainError {
  return new DomainError("FAILED_PRECONDITION", `The server's file of master keys ${problem} See FROSTLINE_MASTER_KEY_FILE.`, {
    reason: "MASTER_KEY_UNUSABLE",
  });
}

/** Throws unless the file can be used: what is wrong is known when the server starts. */
export async function assertMasterKeys(file: string): Promise<void> {
  await readMasterKeys(file);
}

/**
 * Makes the file with one key, unless it is there. For an embedded database: its data and its key are lost together. Whole or not at all: a server
 * that falls on the way would leave a file without a key, and the next one could not start.
 */
export async function ensureMasterKeys(file: string): Promise<void> {
  const partial = `${file}.${randomUUID()}.partial`;
  const line = `${new Date().toISOString().slice(0, 10)} ${randomBytes(keyBytes).toString("base64")}\n`;
  try {
    await fs.writeFile(partial, line, { mode: 0o600, flag: "wx", flush: true });
    // Unlike a rename it does not replace a file that is there.
    await fs.link(partial, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  } finally {
    await fs.rm(partial, { force: true });
  }
}
