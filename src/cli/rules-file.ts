/** A file of rules: YAML to the message, and every fault with the line where it is. docs/rules.md has the form. */
import * as fs from "node:fs/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Document, isMap, isNode, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { z } from "zod";
import type { RpcError } from "../agent/rpc-error.js";
import { RuleOrder, type RuleSet, RuleSetSchema, type RuleSpecSchema, WarmingAction } from "../gen/frostline/v1/rule_pb.js";
import { UsageError } from "./errors.js";
import { parseSize } from "./parse.js";

export interface RulesFile {
  ruleSet: RuleSet;
  /** The error with the place in the file that it is about; undefined when it is about no place. */
  locate(error: RpcError): UsageError | undefined;
}

const secondsOf: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

const age = z
  .string("must be a duration such as 90d, 12h or 2w")
  .regex(/^\d{1,10}[smhdw]$/, "must be a duration such as 90d, 12h or 2w")
  .transform((text) => BigInt(text.slice(0, -1)) * BigInt(secondsOf[text.slice(-1)] as number));

const sizeWords = "must be a whole number of bytes, or a size such as 500GiB or 10TiB";
/** Not `TB`: in an expression that is 1024^4, elsewhere 1000^4. */
const size = z
  .union([z.string().regex(/^\d+(\.\d+)?\s*[KMGTP]iB$/, sizeWords), z.int()], sizeWords)
  .transform((text) => parseSize(String(text)));

const count = z.int("must be a whole number");

const ruleForm = z.strictObject({
  name: z.string(),
  description: z.string().optional(),
  priority: count,
  enabled: z.boolean().optional(),
  shares: z.union([z.literal("all"), z.array(z.string())], "must be `all` or a list of names").optional(),
  expression: z.string(),
  target: z.string(),
  order: z.enum(["coldest", "largest", "oldest"], "must be coldest, largest or oldest").optional(),
  caps: z.strictObject({ files: count.optional(), bytes: size.optional() }).optional(),
  max_scan_age: age.optional(),
  brake_percent: count.optional(),
  warming: z
    .strictObject({
      action: z.enum(["alert", "rehydrate"], "must be alert or rehydrate").optional(),
      accesses: count.optional(),
      window: age.optional(),
    })
    .optional(),
  residency: z.strictObject({ first: age.optional(), backoff_factor: z.number().optional(), longest: age.optional() }).optional(),
});
const fileForm = z.strictObject({ rules: z.array(ruleForm) });
type RuleForm = z.infer<typeof ruleForm>;

const orders = { coldest: RuleOrder.COLDEST, largest: RuleOrder.LARGEST, oldest: RuleOrder.OLDEST };
const actions = { alert: WarmingAction.ALERT, rehydrate: WarmingAction.REHYDRATE };

/** `retireOthers`: rules in force that the file does not have are to go. Throws UsageError (`FILE:line:column: what`). */
export async function readRulesFile(file: string, retireOthers: boolean): Promise<RulesFile> {
  const text = await fs.readFile(file, "utf8").catch((error: Error) => {
    throw new UsageError(`${file} cannot be read: ${error.message}`);
  });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const at = (offset: number) => lines.linePos(offset);
  const fault = ({ line, col }: { line: number; col: number }, problem: string) => new UsageError(`${file}:${line}:${col}: ${problem}`);
  const [syntax] = document.errors;
  if (syntax) throw fault(at(syntax.pos[0]), (syntax.message.split(" at line")[0] as string).trim());
  const parsed = fileForm.safeParse(document.toJS());
  const [issue] = parsed.error?.issues ?? [];
  if (issue) throw fault(at(offsetOf(document, issue)), `${issue.path.join(".") || "the file"}: ${problemOf(document, issue)}`);
  const { rules } = parsed.data as z.infer<typeof fileForm>;
  return {
    ruleSet: create(RuleSetSchema, { rules: rules.map(toSpec), retireOthers }),
    locate(error) {
      const { rule, field, line, column } = error.metadata;
      const place = rules.findIndex(({ name }) => name === rule);
      if (error.reason !== "INVALID_RULE" || place < 0 || field === undefined) return undefined;
      const node = nodeAt(document, ["rules", place, ...(pathOfField[field] ?? [field])]);
      if (line === undefined || column === undefined) return fault(at(node), error.message);
      return fault(inExpression(document, text, place, at, Number(line), Number(column)), error.message);
    },
  };
}

/** Where the contract's fields stand in the file, unless under their own name. */
const pathOfField: Record<string, string[]> = {
  share_names: ["shares"],
  target_uri: ["target"],
  max_files: ["caps", "files"],
  max_bytes: ["caps", "bytes"],
  max_scan_age_seconds: ["max_scan_age"],
  "warming.action": ["warming", "action"],
  "warming.accesses": ["warming", "accesses"],
  "warming.window_seconds": ["warming", "window"],
  residency_seconds: ["residency", "first"],
  backoff_factor: ["residency", "backoff_factor"],
  max_residency_seconds: ["residency", "longest"],
};

/** Undefined, false and 0 are what was written; absent is left out, so that the server's defaults hold. */
function toSpec(rule: RuleForm): MessageInitShape<typeof RuleSpecSchema> {
  const { caps = {}, warming, residency = {} } = rule;
  return given({
    name: rule.name,
    description: rule.description ?? "",
    priority: rule.priority,
    enabled: rule.enabled,
    shareNames: rule.shares === undefined || rule.shares === "all" ? [] : rule.shares,
    // A block of YAML ends with a line break that means nothing.
    expression: rule.expression.trimEnd(),
    targetUri: rule.target,
    order: orders[rule.order ?? "coldest"],
    maxFiles: caps.files === undefined ? undefined : BigInt(caps.files),
    maxBytes: caps.bytes,
    maxScanAgeSeconds: rule.max_scan_age,
    brakePercent: rule.brake_percent,
    warming: warming && given({ action: actions[warming.action ?? "alert"], accesses: warming.accesses, windowSeconds: warming.window }),
    residencySeconds: residency.first,
    backoffFactor: residency.backoff_factor,
    maxResidencySeconds: residency.longest,
  });
}

/** Without the fields that are undefined: to a message an absent field is one that is not there. */
function given<Fields extends object>(fields: Fields): { [Name in keyof Fields]: Exclude<Fields[Name], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never;
}

function problemOf(document: Document, issue: z.core.$ZodIssue): string {
  if (issue.code === "unrecognized_keys") return `${issue.keys.join(", ")} is no field here`;
  return issue.path.length > 0 && !document.hasIn(issue.path) ? "is missing" : issue.message;
}

/** Of an unknown key the key itself; of what is missing, where it would stand. */
function offsetOf(document: Document, issue: z.core.$ZodIssue): number {
  const path = issue.path as (string | number)[];
  if (issue.code === "unrecognized_keys") {
    const map = path.length === 0 ? document.contents : document.getIn(path, true);
    const key = isMap(map) ? map.items.map((pair) => pair.key).find((node) => isScalar(node) && node.value === issue.keys[0]) : undefined;
    if (isNode(key) && key.range) return key.range[0];
  }
  return nodeAt(document, path);
}

/** Offset of the deepest node along the path that is there. */
function nodeAt(document: Document, path: (string | number)[]): number {
  for (let depth = path.length; depth > 0; depth -= 1) {
    const node = document.getIn(path.slice(0, depth), true);
    if (isNode(node) && node.range) return node.range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

/** A literal block begins in the line after its `|`, each line behind the block's indentation; text on one line begins where it stands. */
function inExpression(
  document: Document,
  text: string,
  place: number,
  at: (offset: number) => { line: number; col: number },
  line: number,
  column: number,
): { line: number; col: number } {
  const node = document.getIn(["rules", place, "expression"], true) as Node & { type?: string };
  const start = at(node.range?.[0] ?? 0);
  if (node.type === "BLOCK_LITERAL") {
    const content = text.split("\n").slice(start.line);
    const indent = /^ */.exec(content.find((one) => one.trim() !== "") ?? "")?.[0].length ?? 0;
    return { line: start.line + line, col: indent + column };
  }
  const quote = node.type === "PLAIN" ? 0 : 1;
  return line === 1 && node.type !== "BLOCK_FOLDED" ? { line: start.line, col: start.col + quote + column - 1 } : start;
}
