/** The CEL library's own evaluator on one file: the oracle that the SQL is tested against, and what Explain tells terms by. */
import { type CelInput, CelScalar, celEnv, celFunc, isCelError, objectType, plan } from "@bufbuild/cel";
import { create } from "@bufbuild/protobuf";
import { DurationSchema, type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { globMatches } from "./glob.js";
import { durationRange, type FileValues, units } from "./language.js";
import type { CelExpr } from "./parse.js";

/** `error` says why there is no answer, as with a number outside its range: no match. */
export type Outcome = { holds: boolean } | { error: string };

/** A condition that can be asked of many files. */
export type Program = (file: FileValues, nowUnix: bigint) => Outcome;

const duration = objectType(DurationSchema);
const timestamp = objectType(TimestampSchema);

/**
 * The library's difference of two times is a time again, which nothing compares with a duration, and its durations end at 292
 * years, less than from NTFS's zero to today. These take the place of its own.
 */
const widerDurations = [
  celFunc("_-_", [timestamp, timestamp], duration, (a, b) => durationOf(a.message.seconds - b.message.seconds)),
  celFunc("_-_", [duration, duration], duration, (a, b) => durationOf(a.message.seconds - b.message.seconds)),
  celFunc("_+_", [duration, duration], duration, (a, b) => durationOf(a.message.seconds + b.message.seconds)),
];

const environment = celEnv({
  funcs: [...widerDurations, celFunc("glob", [CelScalar.STRING, CelScalar.STRING], CelScalar.BOOL, globMatches)],
});

function durationOf(seconds: bigint) {
  if (seconds < durationRange.low || seconds > durationRange.high) throw new Error("duration out of range");
  return create(DurationSchema, { seconds });
}

/** `expr` is a checked condition, or one of its terms. */
export function programOf(expr: CelExpr): Program {
  const run = plan(environment, expr);
  return (file, nowUnix) => {
    const result = run(bindings(file, nowUnix));
    if (isCelError(result)) return { error: result.message };
    if (typeof result !== "boolean") throw new Error(`a checked condition came to ${typeof result}`);
    return { holds: result };
  };
}

/** Times become messages only where the condition asks for them: most of what an evaluation costs otherwise. */
function bindings(file: FileValues, nowUnix: bigint): Record<string, CelInput> {
  const { share, path, dir, name, extension, owner, size, tier_state } = file;
  return {
    ...units,
    ...{ share, path, dir, name, extension, owner, size, tier_state },
    get atime() {
      return timeOf(file.atime);
    },
    get mtime() {
      return timeOf(file.mtime);
    },
    get ctime() {
      return timeOf(file.ctime);
    },
    get last_used() {
      return timeOf(file.last_used);
    },
    get now() {
      return timeOf(nowUnix);
    },
  };
}

function timeOf(unixSeconds: bigint): Timestamp {
  return create(TimestampSchema, { seconds: unixSeconds });
}
