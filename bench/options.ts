/** The bench's command line. */
import { parseArgs } from "node:util";

export interface BenchOptions {
  /** Undefined: each bench's own. */
  files: number | undefined;
  runs: number;
  seconds: number;
  only: string[] | undefined;
  json: boolean;
  check: boolean;
  keepTree: boolean;
  clean: boolean;
  profileDir: string | undefined;
  explainDir: string | undefined;
}

/** Ends the process with 2 and the usage when they cannot be understood. */
export function readOptions(names: string[]): BenchOptions {
  const values = parse(names);
  const only = values.only?.flatMap((list) => list.split(","));
  for (const name of only ?? []) if (!names.includes(name)) usage(names, `--only is of ${names.join(", ")}`);
  const count = (name: "files" | "runs" | "seconds", text: string) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1) usage(names, `--${name} takes a whole number from 1`);
    return value;
  };
  return {
    files: values.files === undefined ? undefined : count("files", values.files),
    runs: count("runs", values.runs),
    seconds: count("seconds", values.seconds),
    only,
    json: values.json,
    check: values.check,
    keepTree: values.keep,
    clean: values.clean,
    profileDir: values.profile,
    explainDir: values.explain,
  };
}

function parse(names: string[]) {
  try {
    return parseArgs({
      options: {
        files: { type: "string" },
        runs: { type: "string", default: "3" },
        seconds: { type: "string", default: "60" },
        only: { type: "string", multiple: true },
        json: { type: "boolean", default: false },
        check: { type: "boolean", default: false },
        keep: { type: "boolean", default: false },
        clean: { type: "boolean", default: false },
        profile: { type: "string" },
        explain: { type: "string" },
      },
    }).values;
  } catch (error) {
    return usage(names, (error as Error).message);
  }
}

function usage(names: string[], problem: string): never {
  console.error(`bench: ${problem}
Usage: npm run bench -- [--only ${names.join("|")}] [--files N] [--runs N] [--seconds N] [--json] [--check]
  [--profile DIR] [--explain DIR] [--keep] [--clean]`);
  process.exit(2);
}
