/** What a report on a claim means, object by object: pure, so that every pair of state and outcome can be tried. */
import { mayChange, type TierState, type WantedAction, wantedIn } from "./transitions.js";

/** What tells one version of a file from another. */
export interface FileStamp {
  sizeBytes: bigint;
  mtimeUnix: bigint;
  /** The unsigned number's 64 bits, as a signed number; null where the source has none. */
  frn: bigint | null;
}

export type Outcome =
  | { kind: "progress"; leaseSeconds: number; stub: FileStamp | undefined; objectUri: string }
  | { kind: "stubbed"; seen: FileStamp; stub: FileStamp; objectUri: string }
  | { kind: "rehydrated"; file: FileStamp }
  | { kind: "target_deleted" }
  | { kind: "failed"; reason: string; fileUntouched: boolean }
  | { kind: "skipped"; reason: string }
  | { kind: "file_gone" };

export interface Report {
  tierId: bigint;
  leaseToken: string;
  outcome: Outcome;
}

/** The object, as its row is when the report comes. */
export interface ReportedObject {
  tierId: bigint;
  state: TierState;
  wantedAction: WantedAction | null;
  leaseHolder: string | null;
  leaseToken: string | null;
  planned: FileStamp | undefined;
  stub: FileStamp | undefined;
  objectUri: string | null;
  reportedToken: string | null;
  reportedOutcome: string | null;
  reportedState: TierState | null;
}

export type Refusal = "NOT_FOUND" | "LEASE_LOST" | "FAILED_PRECONDITION";

export type Verdict =
  | { accepted: true /** It was accepted before: nothing more is to be done. */; repeated: boolean; state: TierState }
  | { accepted: false; code: Refusal; message: string; state: TierState | undefined };

export function judge(object: ReportedObject | undefined, { tierId, leaseToken, outcome }: Report): Verdict {
  if (object === undefined) return { accepted: false, code: "NOT_FOUND", message: `There is no tier object ${tierId}.`, state: undefined };
  if (object.reportedToken === leaseToken) return judgeAgain(object, outcome);
  const refuse = (code: Refusal, message: string): Verdict => ({ accepted: false, code, message, state: object.state });
  if (object.leaseToken !== leaseToken) {
    return refuse(
      "LEASE_LOST",
      `The claim is no longer the newest one of tier object ${tierId}, or the object's state has changed. Leave its file and its copy as they are.`,
    );
  }
  const next = stateAfter(object, outcome);
  if (next === undefined) {
    return refuse(
      "FAILED_PRECONDITION",
      `Tier object ${tierId} is ${object.state} and ${object.wantedAction ?? "nothing"} is wanted of it: "${outcome.kind}" does not fit.`,
    );
  }
  const mismatch = mismatchOf(object, outcome);
  if (mismatch !== undefined) return refuse("FAILED_PRECONDITION", mismatch);
  return { accepted: true, repeated: false, state: next };
}

/** The claim's report is known already: the same gets the same answer, another one comes too late. */
function judgeAgain(object: ReportedObject, outcome: Outcome): Verdict {
  const state = object.reportedState ?? object.state;
  const same = outcome.kind === object.reportedOutcome && (outcome.kind !== "stubbed" || isSame(outcome.stub, object.stub));
  if (same) return { accepted: true, repeated: true, state };
  const message = `The claim of tier object ${object.tierId} was reported as "${object.reportedOutcome}" already; "${outcome.kind}" comes too late.`;
  return { accepted: false, code: "FAILED_PRECONDITION", message, state: object.state };
}

/** The state that follows; undefined when the outcome does not fit. */
function stateAfter({ state, wantedAction }: ReportedObject, outcome: Outcome): TierState | undefined {
  if (wantedAction === null || wantedIn[state] !== wantedAction) return undefined;
  const onlyIf = (allowed: boolean, next: TierState) => (allowed ? next : undefined);
  switch (outcome.kind) {
    case "progress":
      return onlyIf(outcome.stub === undefined || wantedAction === "STUB", state);
    case "stubbed":
      return onlyIf(wantedAction === "STUB" && mayChange(state, "STUBBED", "stubbed"), "STUBBED");
    case "rehydrated":
      return onlyIf(wantedAction === "REHYDRATE" && mayChange(state, "REHYDRATED", "rehydrated"), "REHYDRATED");
    case "target_deleted":
      return onlyIf(wantedAction === "DELETE_TARGET", state);
    case "failed":
      return state;
    case "skipped":
      if (wantedAction === "STUB") return onlyIf(mayChange(state, "DELETED", "no_longer_matching"), "DELETED");
      return onlyIf(wantedAction === "REHYDRATE", state);
    case "file_gone":
      return onlyIf(mayChange(state, "DELETED", "file_gone"), "DELETED");
  }
}

/** Why the report cannot be of what was claimed. */
function mismatchOf({ tierId, planned }: ReportedObject, outcome: Outcome): string | undefined {
  const [found, what] =
    outcome.kind === "stubbed"
      ? [outcome.seen, "was stubbed although it was not as claimed: put the content back, and report `skipped`"]
      : outcome.kind === "rehydrated"
        ? [outcome.file, "was not put back with the size and mtime that were claimed: set them, and report again"]
        : [];
  if (found === undefined || planned === undefined) return undefined;
  // A file that is put back has another number than before.
  const numbers = outcome.kind === "stubbed" ? [found.frn, planned.frn] : [];
  const other = numbers.length === 2 && numbers.every((frn) => frn !== null) && numbers[0] !== numbers[1];
  if (found.sizeBytes === planned.sizeBytes && found.mtimeUnix === planned.mtimeUnix && !other) return undefined;
  return `The file of tier object ${tierId} ${what} (claimed: ${describe(planned)}; reported: ${describe(found)}).`;
}

function describe({ sizeBytes, mtimeUnix, frn }: FileStamp): string {
  return `${sizeBytes} bytes, mtime ${mtimeUnix}, number ${frn === null ? "none" : BigInt.asUintN(64, frn)}`;
}

function isSame(a: FileStamp, b: FileStamp | undefined): boolean {
  return a.sizeBytes === b?.sizeBytes && a.mtimeUnix === b.mtimeUnix;
}
