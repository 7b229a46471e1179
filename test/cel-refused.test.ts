/** Malformed and ill-typed expressions are refused with a position, before anything reaches the database. */
import { expect, test } from "vitest";
import { checkExpression, ExpressionError } from "../src/planner/cel/index.js";
import { generateRefused } from "./support/cel-refused.js";
import { randomFile } from "./support/cel-values.js";
import { seededRandom } from "./support/random.js";

const expressions = Number(process.env.FROSTLINE_TEST_EXPRESSIONS ?? 500);

test("random ones with one fault", { timeout: 300_000 }, () => {
  const random = seededRandom();
  const files = Array.from({ length: 50 }, () => randomFile(random));
  const reasons = new Set<string>();
  for (let n = 0; n < expressions; n++) {
    const source = generateRefused({ random, files });
    const fault = faultOf(source);
    if (fault === undefined) expect.fail(`accepted: ${JSON.stringify(source)}`);
    const lines = source.split(/\r\n|\r|\n/);
    const columns = [...(lines[fault.line - 1] ?? "")].length;
    expect(fault.line, source).toSatisfy((line: number) => line >= 1 && line <= lines.length);
    expect(fault.column, source).toSatisfy((column: number) => column >= 1 && column <= columns + 1);
    expect(fault.message).toBe(`line ${fault.line}, column ${fault.column}: ${fault.reason}`);
    expect(fault.reason, source).not.toBe("");
    reasons.add(fault.reason.replace(/[^a-z ]/gi, "").slice(0, 20));
  }
  expect(reasons.size).toBeGreaterThan(20);
});

function faultOf(source: string): ExpressionError | undefined {
  try {
    checkExpression(source);
    return undefined;
  } catch (error) {
    if (error instanceof ExpressionError) return error;
    throw new Error(`not refused as it should be: ${JSON.stringify(source)}`, { cause: error });
  }
}
