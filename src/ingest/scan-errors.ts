/** What can be wrong with a scan, each with its status and reason: one place, so that every caller says the same. */
import { DomainError } from "../errors.js";

/** Carries the brake's figures to whoever records them, outside the transaction that it rolled back. */
export class BrakeHolds extends DomainError {
  readonly scanId: bigint;
  readonly wanted: bigint;
  readonly limit: bigint;

  constructor(scanId: bigint, wanted: bigint, limit: bigint) {
    super(
      "FAILED_PRECONDITION",
      `Scan ${scanId} would mark ${wanted} files as missing; ${limit} are allowed without confirmation. ` +
        "If the files are really gone, confirm the scan and run it again; if not, look at what the agent reads.",
      { reason: "BRAKE_HOLDS", metadata: { scan_id: String(scanId), would_be_missing: String(wanted), limit: String(limit) } },
    );
    this.scanId = scanId;
    this.wanted = wanted;
    this.limit = limit;
  }
}

export function scanNotFound(scanId: bigint): DomainError {
  return new DomainError("NOT_FOUND", `There is no scan ${scanId}.`, { reason: "SCAN_NOT_FOUND", metadata: { scan_id: String(scanId) } });
}

export function scanRunning(scanId: bigint, shareName: string): DomainError {
  return new DomainError(
    "FAILED_PRECONDITION",
    `Scan ${scanId} of share ${JSON.stringify(shareName)} is RUNNING. Resume it, or abort it first.`,
    {
      reason: "SCAN_RUNNING",
      metadata: { scan_id: String(scanId) },
    },
  );
}

/** `state` is the scan's status, or `finishing`. */
export function scanClosed(scanId: bigint, state: string): DomainError {
  return new DomainError("FAILED_PRECONDITION", `Scan ${scanId} is ${state}; it takes no more. Start a new scan.`, {
    reason: "SCAN_CLOSED",
    metadata: { scan_id: String(scanId), state },
  });
}

export function fenced(scanId: bigint, writer: string): DomainError {
  return new DomainError("ABORTED", `A newer stream of writer ${JSON.stringify(writer)} of scan ${scanId} has taken over; this one ends.`, {
    reason: "WRITER_FENCED",
    metadata: { scan_id: String(scanId), writer },
  });
}

export function chunkGap(writer: string, expected: bigint, received: bigint): DomainError {
  return new DomainError(
    "OUT_OF_RANGE",
    `Writer ${JSON.stringify(writer)}: expected chunk ${expected}, received ${received}. Go on with ${expected}.`,
    {
      reason: "CHUNK_GAP",
      metadata: { writer, expected_chunk_no: String(expected), received_chunk_no: String(received) },
    },
  );
}
