/** The share a scan or import needs: made when it is missing. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { Client } from "../agent/client.js";
import { createRetrier, defaultRetryPolicy, type Retrier } from "../agent/retry.js";
import { RpcError } from "../agent/rpc-error.js";
import { type Share, ShareService } from "../gen/frostline/v1/share_pb.js";
import type { Context } from "./command.js";
import { Interrupted, UsageError } from "./errors.js";
import { defaultType, sourceType, type TypeName, typeName } from "./share.js";

export interface WantedShare {
  shareName: string;
  /** As given; without it the share's own type, or for a new share `newType`. */
  type: TypeName | undefined;
  /** Default: that of this system. */
  newType?: TypeName;
  sourceRoot: string;
  /** Undefined: the server decides by type. */
  caseSensitive: boolean | undefined;
}

/** The share of that name, created when there is none. Throws UsageError when it is of another type than the one given, Interrupted. */
export async function ensureShare(
  client: Client,
  { output }: Pick<Context, "output">,
  wanted: WantedShare,
  signal: AbortSignal,
): Promise<{ share: Share; created: boolean }> {
  let told = false;
  const retrier = createRetrier(defaultRetryPolicy, signal, () => {
    if (!told) output.note("The server answers that it is not ready. Trying again.");
    told = true;
  });
  try {
    return await findOrCreate(client, wanted, (call) => onceReady(retrier, call));
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Interrupted("Stopped before anything was sent.");
  }
}

/** A server that is starting or stopping, or whose database is, is waited for. One that is not reached at all is told at once: its name may be wrong. */
async function onceReady<T>(retrier: Retrier, call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof RpcError) || error.reason === "") throw error;
      await retrier.wait(error);
    }
  }
}

async function findOrCreate(
  client: Client,
  wanted: WantedShare,
  once: <T>(call: () => Promise<T>) => Promise<T>,
): Promise<{ share: Share; created: boolean }> {
  const known = await once(() => getShare(client, wanted.shareName));
  if (known !== undefined) {
    if (wanted.type !== undefined && known.sourceType !== sourceType(wanted.type)) {
      throw new UsageError(
        `The share ${wanted.shareName} is of type ${typeName(known.sourceType)}. Leave --type out, or name another share.`,
      );
    }
    return { share: known, created: false };
  }
  const request = {
    shareName: wanted.shareName,
    sourceType: sourceType(wanted.type ?? wanted.newType ?? defaultType),
    sourceRoot: wanted.sourceRoot,
    ...(wanted.caseSensitive === undefined ? {} : { caseSensitive: wanted.caseSensitive }),
  };
  const response = await once(() => client.unary(ShareService.method.createShare, request));
  return { share: response.share as Share, created: true };
}

async function getShare(client: Client, shareName: string): Promise<Share | undefined> {
  try {
    return (await client.unary(ShareService.method.getShare, { shareName })).share;
  } catch (error) {
    if (error instanceof RpcError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}

/** Whether the directory's file system tells names apart by case. */
export async function isCaseSensitive(dir: string): Promise<boolean> {
  if (process.platform === "win32") return false;
  if (process.platform !== "darwin") return true;
  // Both kinds are common on macOS. Any name will do that reads otherwise with its case swapped.
  const absolute = path.resolve(dir);
  const candidates = [absolute, ...(await fs.readdir(absolute)).map((name) => path.join(absolute, name))];
  for (const candidate of candidates) {
    const swapped = path.join(path.dirname(candidate), swapCase(path.basename(candidate)));
    if (swapped !== candidate) return !(await isSameFile(candidate, swapped));
  }
  return false;
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([fs.lstat(a), fs.lstat(b).catch(absent)]);
  return other !== undefined && one.ino === other.ino && one.dev === other.dev;
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}

function swapCase(name: string): string {
  return [...name].map((character) => (character === character.toLowerCase() ? character.toUpperCase() : character.toLowerCase())).join("");
}
