/** What the figures must keep to; see docs/performance.md. */

export interface Budget {
  /** What is held against it. */
  name: string;
  /** Numbers with a unit in `unit`; at least for rates, at most for costs. */
  kind: "at most" | "at least";
  limit: number;
  unit: string;
  value: number;
}

export const atMost = (name: string, value: number, limit: number, unit = "x"): Budget => ({ name, kind: "at most", limit, unit, value });
export const atLeast = (name: string, value: number, limit: number, unit = "x"): Budget => ({ name, kind: "at least", limit, unit, value });

/** What is no number does not hold. */
export function holds({ kind, limit, value }: Budget): boolean {
  return kind === "at most" ? value <= limit : value >= limit;
}

/** On stderr: stdout is for --json. `missing`: what was not measured in this run. */
export function printBudgets(budgets: Budget[], missing: string[]): void {
  console.error("\nBudgets");
  for (const budget of budgets) {
    const { name, kind, limit, unit, value } = budget;
    const words = `${numberWords(value)} ${unit}, ${kind} ${numberWords(limit)} ${unit}`;
    console.error(`  ${holds(budget) ? "holds " : "BROKEN"}  ${name.padEnd(64)} ${words}`);
  }
  if (missing.length > 0) console.error(`  not measured in this run: --only ${missing.join(", --only ")}`);
}

function numberWords(value: number): string {
  return Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2);
}
