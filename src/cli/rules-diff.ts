/** What applying rules would change, for people. */
import { toJson } from "@bufbuild/protobuf";
import { type RuleChange, RuleChangeKind, type RuleSpec, RuleSpecSchema } from "../gen/frostline/v1/rule_pb.js";
import { visible } from "./format.js";

/** Lines of a diff: `+` what would be, `-` what is now. An unchanged rule has none. */
export function diffLines(changes: RuleChange[]): string[] {
  return changes.flatMap((change) => {
    switch (change.kind) {
      case RuleChangeKind.ADDED:
        return [`+ rule ${visible(change.name)}`, ...fieldLines("+", change.after)];
      case RuleChangeKind.RETIRED:
        return [`- rule ${visible(change.name)}`, ...fieldLines("-", change.before)];
      case RuleChangeKind.CHANGED: {
        const [before, after] = [fieldsOf(change.before), fieldsOf(change.after)];
        const names = [...new Set([...before.keys(), ...after.keys()])].filter((name) => before.get(name) !== after.get(name));
        const lines = names.flatMap((name) => [...fieldLine("-", name, before.get(name)), ...fieldLine("+", name, after.get(name))]);
        return [`  rule ${visible(change.name)}`, ...lines];
      }
      default:
        return [];
    }
  });
}

/** `1 added, 2 changed, 1 unchanged.` */
export function changeWords(changes: RuleChange[]): string {
  const words: [RuleChangeKind, string][] = [
    [RuleChangeKind.ADDED, "added"],
    [RuleChangeKind.CHANGED, "changed"],
    [RuleChangeKind.RETIRED, "retired"],
    [RuleChangeKind.UNCHANGED, "unchanged"],
  ];
  const counted = words.map(([kind, word]) => [changes.filter((change) => change.kind === kind).length, word] as const);
  return `${
    counted
      .filter(([count]) => count > 0)
      .map(([count, word]) => `${count} ${word}`)
      .join(", ") || "No rules"
  }.`;
}

export function isChange({ kind }: RuleChange): boolean {
  return kind !== RuleChangeKind.UNCHANGED;
}

function fieldLines(sign: string, spec: RuleSpec | undefined): string[] {
  return [...fieldsOf(spec)].filter(([name]) => name !== "name").flatMap(([name, value]) => fieldLine(sign, name, value));
}

/** An expression of several lines stays so. */
function fieldLine(sign: string, name: string, value: string | undefined): string[] {
  if (value === undefined) return [];
  const [first, ...rest] = value.split("\n");
  if (rest.length === 0) return [`${sign}   ${name}: ${visible(first as string)}`];
  return [`${sign}   ${name}:`, ...[first as string, ...rest].map((line) => `${sign}     ${visible(line)}`)];
}

/** In the names of the contract's JSON, nested ones with dots. */
function fieldsOf(spec: RuleSpec | undefined): Map<string, string> {
  const fields = new Map<string, string>();
  const collect = (prefix: string, value: object) => {
    for (const [name, part] of Object.entries(value)) {
      if (part !== null && typeof part === "object" && !Array.isArray(part)) collect(`${prefix}${name}.`, part);
      else fields.set(`${prefix}${name}`, Array.isArray(part) ? part.join(", ") || "(all)" : String(part));
    }
  };
  if (spec) collect("", toJson(RuleSpecSchema, spec, { alwaysEmitImplicit: true }) as object);
  return fields;
}
