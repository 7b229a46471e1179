/** Starts a scan, or finds the unfinished one of the share. */
import { type Scan, ScanMode, ScanService } from "../gen/frostline/v1/scan_pb.js";
import type { Client } from "./client.js";
import type { Retrier } from "./retry.js";
import { RpcError } from "./rpc-error.js";

export interface StartOptions {
  shareName: string;
  mode: ScanMode;
  uniqueFrn: boolean;
  exactListTimes: boolean;
  /** An unfinished scan of the share: `auto` goes on with it, `restart` abandons it. */
  resume: "auto" | "restart";
  signal?: AbortSignal;
}

/**
 * The scan to push to. A StartScan whose answer was lost is found again as an unfinished scan. Rejects when that scan
 * makes other claims than this one would.
 */
export async function startOrResume(
  client: Client,
  options: StartOptions,
  retrier: Retrier,
): Promise<{ scanId: bigint; resumed: boolean }> {
  const { shareName, mode, uniqueFrn, exactListTimes } = options;
  const request = { shareName, mode, uniqueFrn, exactListTimes };
  const call = options.signal === undefined ? {} : { signal: options.signal };
  for (;;) {
    try {
      const { scan } = await retrier.run(() => client.unary(ScanService.method.startScan, request, call));
      if (scan === undefined) throw new Error("The server's answer has no scan. Are agent and server of the same version?");
      return { scanId: scan.scanId, resumed: false };
    } catch (error) {
      const scanId = runningScan(error);
      if (scanId === undefined) throw error;
      if (options.resume === "auto") {
        const { scan } = await retrier.run(() => client.unary(ScanService.method.getScan, { scanId }, call));
        assertSameClaims(scan, options);
        return { scanId, resumed: true };
      }
      await abort(client, scanId, call, retrier);
    }
  }
}

/** The id in SCAN_RUNNING; undefined for any other error. */
function runningScan(error: unknown): bigint | undefined {
  if (!(error instanceof RpcError) || error.reason !== "SCAN_RUNNING") return undefined;
  const id = error.metadata.scan_id;
  return id === undefined ? undefined : BigInt(id);
}

async function abort(client: Client, scanId: bigint, call: { signal?: AbortSignal }, retrier: Retrier): Promise<void> {
  try {
    await retrier.run(() => client.unary(ScanService.method.abortScan, { scanId }, call));
  } catch (error) {
    // It has just ended by itself: just as well.
    if (!(error instanceof RpcError) || error.reason !== "SCAN_CLOSED") throw error;
  }
}

function assertSameClaims(scan: Scan | undefined, wanted: StartOptions): void {
  if (scan === undefined) return;
  const differs =
    scan.mode !== wanted.mode
      ? `mode ${ScanMode[scan.mode]}`
      : scan.uniqueFrn !== wanted.uniqueFrn
        ? "other claims about file reference numbers"
        : scan.exactListTimes !== wanted.exactListTimes
          ? "other claims about the times of its listings"
          : undefined;
  if (differs === undefined) return;
  throw new Error(
    `Share ${JSON.stringify(wanted.shareName)} has the unfinished scan ${scan.scanId}, with ${differs}, unlike this one. ` +
      "Resume it with the options it was started with, or abandon it with --restart.",
  );
}
