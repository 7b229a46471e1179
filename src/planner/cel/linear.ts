/**
 * Numbers, times and durations as sums: coefficient times variable, and a constant. Only `+`, `-` and multiplication by a
 * constant exist, so every such expression is one. All of it is calculated here, with BigInt; PostgreSQL compares a column with
 * a constant and has nothing to overflow.
 */
import type { NumericVariable, Range } from "./language.js";

export type LinearVariable = NumericVariable | "now";

export interface Linear {
  /** None is 0. */
  coefficients: ReadonlyMap<LinearVariable, bigint>;
  constant: bigint;
}

/** An interim result that CEL calls an error when it is outside the range of its type. */
export interface RangeCheck {
  value: Linear;
  range: Range;
}

export function constantOf(constant: bigint): Linear {
  return { coefficients: new Map(), constant };
}

export function variableOf(name: LinearVariable): Linear {
  return { coefficients: new Map([[name, 1n]]), constant: 0n };
}

export function isConstant(value: Linear): boolean {
  return value.coefficients.size === 0;
}

/** left + factor * right */
export function addScaled(left: Linear, right: Linear, factor: bigint): Linear {
  const coefficients = new Map(left.coefficients);
  for (const [name, coefficient] of right.coefficients) {
    const sum = (coefficients.get(name) ?? 0n) + factor * coefficient;
    if (sum === 0n) coefficients.delete(name);
    else coefficients.set(name, sum);
  }
  return { coefficients, constant: left.constant + factor * right.constant };
}

export function scale(value: Linear, factor: bigint): Linear {
  return addScaled(constantOf(0n), value, factor);
}

/** `name` has this value from now on. */
export function substitute(value: Linear, name: LinearVariable, known: bigint): Linear {
  const coefficient = value.coefficients.get(name);
  if (coefficient === undefined) return value;
  return addScaled(value, addScaled(constantOf(known), variableOf(name), -1n), coefficient);
}

/** Every value that it can have when each variable is in its range. */
export function rangeOf(value: Linear, rangeOfVariable: (name: LinearVariable) => Range): Range {
  let { constant: low, constant: high } = value;
  for (const [name, coefficient] of value.coefficients) {
    const range = rangeOfVariable(name);
    low += coefficient * (coefficient > 0n ? range.low : range.high);
    high += coefficient * (coefficient > 0n ? range.high : range.low);
  }
  return { low, high };
}

export function floorDivide(dividend: bigint, divisor: bigint): bigint {
  const quotient = dividend / divisor;
  return dividend % divisor !== 0n && dividend < 0n !== divisor < 0n ? quotient - 1n : quotient;
}

export function ceilDivide(dividend: bigint, divisor: bigint): bigint {
  return -floorDivide(-dividend, divisor);
}
