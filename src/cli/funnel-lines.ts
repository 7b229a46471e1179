/** A funnel as people read it. */
import { ExclusionReason, type Funnel, type RuleFunnel, type SampleFile, type Totals } from "../gen/frostline/v1/planner_pb.js";
import { bytes, count, escaped, isoTime, table } from "./format.js";

const reasonWords: Record<ExclusionReason, string> = {
  [ExclusionReason.UNSPECIFIED]: "left out",
  [ExclusionReason.MISSING]: "missing",
  [ExclusionReason.METADATA_INCOMPLETE]: "size and times not known yet",
  [ExclusionReason.METADATA_STALE]: "written since the last scan",
  [ExclusionReason.HARD_LINKS]: "several hard links",
  [ExclusionReason.TIERED]: "planned or tiered already",
  [ExclusionReason.RESIDENT]: "resident after rehydration",
  [ExclusionReason.TARGET_PENDING]: "old copy still to be deleted",
  [ExclusionReason.HELD]: "held",
};

export function reasonName(reason: ExclusionReason): string {
  return reasonWords[reason] ?? `reason ${reason}`;
}

/** Each rule's funnel, the total, and its classes. */
export function funnelLines(funnel: Funnel): string[] {
  const rows = funnel.rules.flatMap((rule) => [...ruleRows(rule)]);
  const total = [
    row("total", "matched", funnel.matched),
    ...funnel.excluded.map(({ reason, totals }) => row("", `  ${reasonName(reason)}`, totals)),
    row("", "  beyond caps", funnel.capped),
    row("", "planned", funnel.planned),
  ];
  return [
    ...table(
      [
        { title: "RULE" },
        { title: "FILES THAT ARE" },
        { title: "FILES", align: "right" },
        { title: "SIZE", align: "right" },
        { title: "ALLOCATED", align: "right" },
      ],
      [...rows, ...total],
    ),
    ...classLines("LAST USED", funnel.plannedByAge, (seconds) => `${seconds / 86_400n} days ago`),
    ...classLines("SIZE", funnel.plannedBySize, (size) => bytes(size)),
  ];
}

function ruleRows({ ruleName, version, matched, excluded, taken, capped, planned }: RuleFunnel): string[][] {
  const name = version === 0 ? `${ruleName} (candidate)` : `${ruleName} v${version}`;
  return [
    row(name, "matched", matched),
    ...excluded.map(({ reason, totals }) => row("", `  ${reasonName(reason)}`, totals)),
    row("", "  taken by a rule before", taken),
    row("", "  beyond caps", capped),
    row("", "planned", planned),
  ];
}

function row(name: string, what: string, totals: Totals | undefined): string[] {
  const { files = 0n, bytes: size = 0n, allocatedBytes = 0n } = totals ?? {};
  return [name, what, count(files), bytes(size), bytes(allocatedBytes)];
}

function classLines(title: string, classes: Funnel["plannedByAge"], words: (from: bigint) => string): string[] {
  if (classes.length === 0) return [];
  const rows = classes.map(({ from, below, totals }) => [
    below === undefined ? `from ${words(from)}` : `${words(from)} to ${words(below)}`,
    count(totals?.files ?? 0n),
    bytes(totals?.bytes ?? 0n),
  ]);
  return ["", ...table([{ title: `PLANNED BY ${title}` }, { title: "FILES", align: "right" }, { title: "SIZE", align: "right" }], rows)];
}

/** Nothing for no files. */
export function sampleLines(title: string, sample: SampleFile[]): string[] {
  if (sample.length === 0) return [];
  return [
    "",
    title,
    ...sample.map(({ path, sizeBytes, lastUsedUnix }) => `  ${isoTime(lastUsedUnix)}  ${bytes(sizeBytes).padStart(10)}  ${escaped(path)}`),
  ];
}
