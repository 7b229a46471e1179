/**
 * Conditions to SQL. CEL's errors are SQL's unknown: `&&`, `||` and `!` absorb an error exactly as AND, OR and NOT absorb NULL, so an
 * interim result outside its range makes its comparison NULL, and the whole is false where it would be NULL.
 * User text is only ever a parameter; the SQL is made of the caller's columns and of words that stand here.
 */
import { globEnds, globRegex } from "./glob.js";
import type { FileVariable } from "./language.js";
import { substitute } from "./linear.js";
import { compareSql, guarded, memberSql } from "./linear-sql.js";
import type { Condition, StringOperand } from "./nodes.js";

export interface Params {
  /** Keeps a value for the statement and returns its place, `$n`. Whole numbers come as decimal text. */
  add(value: string | string[]): string;
}

/** For each variable an SQL expression of its type (text or bigint) that is never null. */
export type Columns = Readonly<Record<FileVariable, string>>;

export interface Compiler {
  columns: Columns;
  params: Params;
  now: bigint;
}

interface Sql {
  text: string;
  nullable: boolean;
}

/** Never null. Unknown becomes false as far inside as it may, so that the statement's planner still sees the conditions beside it. */
export function conditionSql(compiler: Compiler, condition: Condition): string {
  if (condition.kind === "and" || condition.kind === "or") {
    const operands = condition.operands.map((operand) => conditionSql(compiler, operand));
    return `(${operands.join(condition.kind === "and" ? " AND " : " OR ")})`;
  }
  const { text, nullable } = compile(compiler, condition);
  return nullable ? `coalesce(${text}, false)` : text;
}

function compile(compiler: Compiler, condition: Condition): Sql {
  switch (condition.kind) {
    case "constant":
      return certain(condition.value ? "TRUE" : "FALSE");
    case "and":
    case "or": {
      const operands = condition.operands.map((operand) => compile(compiler, operand));
      return combined(operands, `(${operands.map((operand) => operand.text).join(condition.kind === "and" ? " AND " : " OR ")})`);
    }
    case "not": {
      const operand = compile(compiler, condition.operand);
      return combined([operand], `(NOT ${operand.text})`);
    }
    case "if": {
      const [test, yes, no] = [condition.condition, condition.whenTrue, condition.whenFalse].map((part) => compile(compiler, part)) as [
        Sql,
        Sql,
        Sql,
      ];
      return combined([test, yes, no], `(CASE ${test.text} WHEN TRUE THEN ${yes.text} WHEN FALSE THEN ${no.text} END)`);
    }
    case "same": {
      const sides = [compile(compiler, condition.left), compile(compiler, condition.right)] as const;
      return combined([...sides], `(${sides[0].text} ${condition.negated ? "<>" : "="} ${sides[1].text})`);
    }
    case "compare":
    case "numberIn":
      return compileNumbers(compiler, condition);
    default:
      return certain(compileText(compiler, condition));
  }
}

function certain(text: string): Sql {
  return { text, nullable: false };
}

function combined(parts: Sql[], text: string): Sql {
  return { text, nullable: parts.some((part) => part.nullable) };
}

function compileNumbers(compiler: Compiler, condition: Extract<Condition, { kind: "compare" | "numberIn" }>): Sql {
  const known = condition.checks.map(({ value, range }) => ({ value: substitute(value, "now", compiler.now), range }));
  const text = () =>
    condition.kind === "compare"
      ? compareSql(compiler, substitute(condition.difference, "now", compiler.now), condition.operator)
      : memberSql(compiler, condition.value, condition.list);
  return guarded(compiler, known, condition.kind === "compare" ? condition.difference : condition.value, text);
}

type TextCondition = Extract<Condition, { kind: "stringIn" | "equals" | "startsWith" | "endsWith" | "contains" | "glob" }>;

function compileText(compiler: Compiler, condition: TextCondition): string {
  switch (condition.kind) {
    case "stringIn":
      return `(${stringSql(compiler, condition.operand)} = ANY (${compiler.params.add(condition.list)}::text[]))`;
    case "equals":
      return `(${stringSql(compiler, condition.left)} ${condition.negated ? "<>" : "="} ${partSql(compiler, condition.right)})`;
    case "startsWith":
      return `starts_with(${stringSql(compiler, condition.operand)}, ${partSql(compiler, condition.part)})`;
    case "endsWith":
      return endsWithSql(compiler, condition.operand, condition.part);
    case "contains":
      // Not LIKE: % and _ are characters like any other.
      return `(strpos(${stringSql(compiler, condition.operand)}, ${partSql(compiler, condition.part)}) > 0)`;
    case "glob":
      return globSql(compiler, condition.operand, condition.pattern);
  }
}

function stringSql(compiler: Compiler, operand: StringOperand): string {
  return "variable" in operand ? compiler.columns[operand.variable] : `${compiler.params.add(operand.literal)}::text`;
}

/** The second of two texts says the collation: columns with different ones cannot be compared otherwise. Bytes decide in all of them. */
function partSql(compiler: Compiler, operand: StringOperand): string {
  return `${stringSql(compiler, operand)} COLLATE "C"`;
}

function endsWithSql(compiler: Compiler, operand: StringOperand, part: StringOperand): string {
  const length = "literal" in part ? String([...part.literal].length) : `char_length(${stringSql(compiler, part)})`;
  return `(right(${stringSql(compiler, operand)}, ${length}) = ${partSql(compiler, part)})`;
}

function globSql(compiler: Compiler, operand: StringOperand, pattern: string): string {
  const { prefix, suffix, whole, below } = globEnds(pattern);
  if (whole) return compileText(compiler, { kind: "equals", left: operand, right: { literal: prefix }, negated: false } as TextCondition);
  const starts = prefix === "" ? [] : [`starts_with(${stringSql(compiler, operand)}, ${partSql(compiler, { literal: prefix })})`];
  if (below) return starts[0] ?? "TRUE";
  const ends = suffix === "" ? [] : [endsWithSql(compiler, operand, { literal: suffix })];
  // The ends first: they cost a tenth of the regular expression and decide most rows.
  return `(${[...starts, ...ends, `${stringSql(compiler, operand)} ~ ${compiler.params.add(globRegex(pattern))}::text COLLATE "C"`].join(" AND ")})`;
}
