/** Random well-typed rule expressions, as text: every operator, in every spelling that the parser takes. */
import type { FileValues } from "../../src/planner/cel/index.js";
import { formatTimestamp } from "../../src/planner/cel/literals.js";
import { nowUnix, randomSize, randomText, randomTime } from "./cel-values.js";
import type { Random } from "./random.js";

export type ExpressionType = "bool" | "string" | "int" | "time" | "duration";

export interface Generator {
  random: Random;
  /** Constants are taken from these as often as not, so that comparisons are near the edge. */
  files: FileValues[];
  /** May give another text in place of the one that a well-typed expression has here; test/support/cel-refused.ts. */
  replace?: (type: ExpressionType) => string | undefined;
}

type Variant = (generator: Generator, depth: number) => string;

export function generateExpression(generator: Generator): string {
  return write(generator, "bool", generator.random.between(1, 5));
}

function write(generator: Generator, type: ExpressionType, depth: number): string {
  const replaced = generator.replace?.(type);
  if (replaced !== undefined) return replaced;
  const { flat, nested } = variants[type];
  const choice = depth <= 0 || generator.random.next() < 0.25 ? flat : nested;
  return generator.random.pick(choice)(generator, depth - 1);
}

const orders = ["<", "<=", ">", ">=", "==", "!="];

const comparison =
  (type: "int" | "time" | "duration"): Variant =>
  (g, depth) =>
    binary(g, write(g, type, depth), g.random.pick(orders), write(g, type, depth));

const tests: Variant[] = [comparison("int"), comparison("time"), comparison("duration"), equality, method, glob, stringIn, numberIn];

const logic: Variant[] = [
  (g, depth) => chain(g, depth, "&&"),
  (g, depth) => chain(g, depth, "||"),
  // Without parentheses: the parser decides what belongs together.
  (g, depth) => `${test(g, depth)}${space(g)}&&${space(g)}${test(g, depth)}${space(g)}||${space(g)}${test(g, depth)}`,
  (g, depth) => `!${grouped(g, notDoubled("!", write(g, "bool", depth)))}`,
  (g, depth) => `${grouped(g, write(g, "bool", depth))}${space(g)}?${space(g)}${test(g, depth)}:${space(g)}${grouped(g, write(g, "bool", depth))}`,
  (g, depth) => binary(g, grouped(g, write(g, "bool", depth)), g.random.pick(["==", "!="]), grouped(g, write(g, "bool", depth))),
];

const variants: Record<ExpressionType, { flat: Variant[]; nested: Variant[] }> = {
  bool: { flat: [...tests, (g) => g.random.pick(["true", "false"])], nested: [...tests, ...logic, ...logic] },
  string: { flat: [stringVariable, stringVariable, (g) => stringLiteral(g, constantText(g))], nested: [stringVariable, (g) => stringLiteral(g, constantText(g))] },
  int: {
    flat: [() => "size", intLiteral],
    nested: [
      () => "size",
      (g, depth) => grouped(g, binary(g, write(g, "int", depth), g.random.pick(["+", "-"]), "size")),
      (g, depth) => grouped(g, binary(g, "size", g.random.pick(["+", "-"]), write(g, "int", depth))),
      (g, depth) => grouped(g, binary(g, smallLiteral(g), "*", grouped(g, write(g, "int", depth)))),
      (g, depth) => grouped(g, binary(g, grouped(g, write(g, "int", depth)), "*", smallLiteral(g))),
      (g, depth) => `-${space(g)}${grouped(g, notDoubled("-", write(g, "int", depth)))}`,
    ],
  },
  time: {
    flat: [timeVariable, timeVariable, timeLiteral],
    nested: [
      timeVariable,
      (g, depth) => grouped(g, binary(g, write(g, "time", depth), g.random.pick(["+", "-"]), write(g, "duration", depth))),
      (g, depth) => grouped(g, binary(g, write(g, "duration", depth), "+", write(g, "time", depth))),
    ],
  },
  duration: {
    flat: [durationLiteral, (g) => grouped(g, binary(g, timeVariable(g), "-", timeVariable(g)))],
    nested: [
      (g, depth) => grouped(g, binary(g, write(g, "time", depth), "-", write(g, "time", depth))),
      (g, depth) => grouped(g, binary(g, write(g, "duration", depth), g.random.pick(["+", "-"]), write(g, "duration", depth))),
    ],
  },
};

function test(g: Generator, depth: number): string {
  return g.random.pick(tests)(g, depth);
}

function chain(g: Generator, depth: number, operator: string): string {
  const operands = Array.from({ length: g.random.between(2, 4) }, () => grouped(g, write(g, "bool", depth)));
  return operands.join(`${space(g)}${operator}${space(g)}`);
}

function equality(g: Generator): string {
  if (g.random.next() < 0.2) return binary(g, stringVariable(g), g.random.pick(["==", "!="]), stringVariable(g));
  const variable = stringVariable(g);
  const literal = write(g, "string", 0) && stringLiteral(g, constantFor(g, variable));
  const operator = g.random.pick(["==", "!="]);
  return g.random.next() < 0.8 ? binary(g, variable, operator, literal) : binary(g, literal, operator, variable);
}
