/** Reports of movers, out of their messages. A bad one is told by itself: the others of its batch count. */
import type { FileStamp as FileStampMessage, TierReport } from "../gen/frostline/v1/tier_pb.js";
import type { FileStamp, Outcome, Report } from "../tier/judge.js";

const leaseSecondsAtMost = 86_400;
const reasonCharsAtMost = 1000;
const uriCharsAtMost = 8192;

export type ReadReport = { tierId: bigint; report: Report } | { tierId: bigint; problem: string };

/** Thrown within this file; its message names the field. */
class BadReport extends Error {}

export function fromReport({ tierId, leaseToken, outcome }: TierReport): ReadReport {
  try {
    return { tierId, report: { tierId, leaseToken: leaseToken.toLowerCase(), outcome: toOutcome(outcome) } };
  } catch (error) {
    if (error instanceof BadReport) return { tierId, problem: error.message };
    throw error;
  }
}

function toOutcome(outcome: TierReport["outcome"]): Outcome {
  switch (outcome.case) {
    case "progress": {
      const { leaseSeconds, stub, objectUri } = outcome.value;
      if (leaseSeconds < 1 || leaseSeconds > leaseSecondsAtMost)
        throw new BadReport(`progress.lease_seconds is ${leaseSeconds}; it must be 1 to ${leaseSecondsAtMost}.`);
      if ((stub === undefined) !== (objectUri === "")) throw new BadReport("progress.stub and progress.object_uri come together.");
      return {
        kind: "progress",
        leaseSeconds,
        stub: stub && toStamp("progress.stub", stub),
        objectUri: toText("progress.object_uri", objectUri, uriCharsAtMost),
      };
    }
    case "stubbed": {
      const { seen, stub, objectUri } = outcome.value;
      if (objectUri === "") throw new BadReport("stubbed.object_uri is empty: it says where the content lies.");
      return {
        kind: "stubbed",
        seen: toStamp("stubbed.seen", seen),
        stub: toStamp("stubbed.stub", stub),
        objectUri: toText("stubbed.object_uri", objectUri, uriCharsAtMost),
      };
    }
    case "rehydrated":
      return { kind: "rehydrated", file: toStamp("rehydrated.file", outcome.value.file) };
    case "targetDeleted":
      return { kind: "target_deleted" };
    case "failed": {
      const { reason, fileUntouched } = outcome.value;
      return { kind: "failed", reason: toText("failed.reason", reason, reasonCharsAtMost), fileUntouched };
    }
    case "skipped":
      return { kind: "skipped", reason: toText("skipped.reason", outcome.value.reason, reasonCharsAtMost) };
    case "fileGone":
      return { kind: "file_gone" };
    default:
      throw new BadReport("outcome is missing.");
  }
}

function toText(field: string, text: string, most: number): string {
  if (text.length > most || text.includes("\0")) throw new BadReport(`${field} must have at most ${most} characters, and no NUL.`);
  return text;
}

function toStamp(field: string, stamp: FileStampMessage | undefined): FileStamp {
  if (stamp === undefined) throw new BadReport(`${field} is missing.`);
  if (stamp.sizeBytes < 0n) throw new BadReport(`${field}.size_bytes is below 0.`);
  return { sizeBytes: stamp.sizeBytes, mtimeUnix: stamp.mtimeUnix, frn: stamp.frn === undefined ? null : BigInt.asIntN(64, stamp.frn) };
}
