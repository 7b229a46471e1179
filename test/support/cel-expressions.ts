/** Random well-typed rule expressions, as text: every operator, in every spelling that the parser takes. */
import { durationLiteral, factor, intLiteral, pattern, type Source, stringVariables, textFor, timeLiteral } from "./cel-literals.js";
import { binary, group, notDoubled, space, spell } from "./cel-spelling.js";

export type ExpressionType = "bool" | "string" | "int" | "time" | "duration";

export interface Generator extends Source {
  /** May give another text in place of the one that a well-typed expression has here (cel-refused.ts). */
  replace?: (type: ExpressionType) => string | undefined;
}

type Variant = (g: Generator, depth: number) => string;

export function generateExpression(g: Generator): string {
  return write(g, "bool", g.random.between(1, 5));
}

function write(g: Generator, type: ExpressionType, depth: number): string {
  const { flat, nested } = variants[type];
  const choice = depth <= 0 || g.random.next() < 0.2 ? flat : nested;
  return g.replace?.(type) ?? g.random.pick(choice)(g, depth - 1);
}

const orders = ["<", "<=", ">", ">=", "==", "!="];
const equalities = ["==", "!="];
const sums = ["+", "-"];

const tests: Variant[] = [compare("int"), compare("time"), compare("duration"), equality, method, glob, stringIn, numberIn];

const logic: Variant[] = [
  (g, depth) => chain(g, depth, "&&"),
  (g, depth) => chain(g, depth, "||"),
  // Without parentheses: the parser decides what belongs together.
  (g, depth) => join(g, join(g, test(g, depth), "&&", test(g, depth)), "||", test(g, depth)),
  (g, depth) => `!${space(g.random)}${group(g.random, notDoubled("!", write(g, "bool", depth)))}`,
  (g, depth) => join(g, join(g, grouped(g, "bool", depth), "?", test(g, depth)), ":", grouped(g, "bool", depth)),
  (g, depth) => join(g, grouped(g, "bool", depth), g.random.pick(equalities), grouped(g, "bool", depth)),
];

const variants: Record<ExpressionType, { flat: Variant[]; nested: Variant[] }> = {
  bool: { flat: [...tests, (g) => g.random.pick(["true", "false"])], nested: [...tests, ...logic, ...logic] },
  string: { flat: [stringVariable, literalText], nested: [stringVariable, literalText] },
  int: {
    flat: [() => "size", () => "size", intLiteral],
    nested: [
      () => "size",
      (g, depth) => group(g.random, join(g, write(g, "int", depth), g.random.pick(sums), write(g, "int", 0))),
      (g, depth) => group(g.random, join(g, write(g, "int", 0), g.random.pick(sums), write(g, "int", depth))),
      (g, depth) => group(g.random, join(g, factor(g), "*", write(g, "int", depth))),
      (g, depth) => group(g.random, join(g, write(g, "int", depth), "*", factor(g))),
      (g, depth) => group(g.random, `-${space(g.random)}${group(g.random, notDoubled("-", write(g, "int", depth)))}`),
    ],
  },
  time: {
    flat: [timeVariable, timeVariable, timeLiteral],
    nested: [
      timeVariable,
      (g, depth) => group(g.random, join(g, write(g, "time", depth), g.random.pick(sums), write(g, "duration", depth))),
      (g, depth) => group(g.random, join(g, write(g, "duration", depth), "+", write(g, "time", depth))),
    ],
  },
  duration: {
    flat: [durationLiteral, (g) => group(g.random, join(g, timeVariable(g), "-", timeVariable(g)))],
    nested: [
      durationLiteral,
      (g, depth) => group(g.random, join(g, write(g, "time", depth), "-", write(g, "time", depth))),
      (g, depth) => group(g.random, join(g, write(g, "duration", depth), g.random.pick(sums), write(g, "duration", depth))),
    ],
  },
};

function compare(type: "int" | "time" | "duration"): Variant {
  return (g, depth) => join(g, write(g, type, depth), g.random.pick(orders), write(g, type, depth));
}

function test(g: Generator, depth: number): string {
  return g.replace?.("bool") ?? g.random.pick(tests)(g, depth);
}

function grouped(g: Generator, type: ExpressionType, depth: number): string {
  return group(g.random, write(g, type, depth));
}

function chain(g: Generator, depth: number, operator: string): string {
  const operands = Array.from({ length: g.random.between(2, 4) }, () => grouped(g, "bool", depth));
  return operands.reduce((left, right) => join(g, left, operator, right));
}

function equality(g: Generator): string {
  const variable = stringVariable(g);
  const other = g.replace?.("string") ?? (g.random.next() < 0.2 ? stringVariable(g) : spell(g.random, textFor(g, variable)));
  const [left, right] = g.random.shuffle<string>([variable, other]) as [string, string];
  return join(g, left, g.random.pick(equalities), right);
}

function method(g: Generator): string {
  const name = g.random.pick(["startsWith", "endsWith", "contains"]);
  return `${join(g, write(g, "string", 0), ".", name)}(${space(g.random)}${write(g, "string", 0)}${space(g.random)})`;
}

function glob(g: Generator): string {
  return `glob(${join(g, write(g, "string", 0), ",", g.replace?.("string") ?? spell(g.random, pattern(g)))})`;
}

function stringIn(g: Generator): string {
  const variable = stringVariable(g);
  return membership(g, g.replace?.("string") ?? variable, () => g.replace?.("string") ?? spell(g.random, textFor(g, variable)));
}

function numberIn(g: Generator, depth: number): string {
  return membership(g, write(g, "int", depth), () => g.replace?.("int") ?? intLiteral(g));
}

function membership(g: Generator, left: string, element: () => string): string {
  const list = Array.from({ length: g.random.between(1, 4) }, element).join(`,${space(g.random)}`);
  return `${left} ${space(g.random)}in ${space(g.random)}[${space(g.random)}${list}${g.random.pick(["", "", ","])}${space(g.random)}]`;
}

function stringVariable(g: Generator): (typeof stringVariables)[number] {
  return g.random.pick(stringVariables);
}

function timeVariable(g: Generator): string {
  return g.random.pick(["atime", "mtime", "ctime", "last_used", "last_used", "now"]);
}

function literalText(g: Generator): string {
  return spell(g.random, textFor(g, "path"));
}

function join(g: Generator, left: string, operator: string, right: string): string {
  return binary(g.random, left, operator, right);
}
