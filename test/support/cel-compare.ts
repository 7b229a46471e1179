/** SQL and CEL side by side: what each says of some files. */
import type pg from "pg";
import { expect } from "vitest";
import { type Columns, type Expression, evaluate, type FileValues, toPredicate } from "../../src/planner/cel/index.js";
import { fileVariableTypes } from "../../src/planner/cel/language.js";
import { nowUnix } from "./cel-values.js";

/** Of the table that storeFiles() makes. */
const columns = Object.fromEntries(Object.keys(fileVariableTypes).map((name) => [name, `f.${name}`])) as unknown as Columns;

export function predicate(expression: Expression, values: unknown[]): string {
  return toPredicate(expression, columns, { add: (value) => `$${values.push(value)}` }, nowUnix);
}

/** Fails where they differ, and names the expression on which SQL raised. Returns how many are true of some files and false of others. */
export async function expectAgreement(client: pg.Client, batch: Expression[], files: FileValues[]): Promise<number> {
  const answers = await matchAll(client, batch);
  let decisive = 0;
  for (const [n, expression] of batch.entries()) {
    const fromCel = files.map((file) => evaluate(expression, file, nowUnix));
    const differs = files.findIndex((_, row) => answers[row]?.[n] !== fromCel[row]);
    if (differs >= 0) {
      const said = `SQL says ${answers[differs]?.[n]}, CEL ${fromCel[differs]}`;
      expect.fail(`${expression.source}\n${predicate(expression, [])}\n${said} of ${inspect(files[differs] as FileValues)}`);
    }
    if (fromCel.includes(true) && fromCel.includes(false)) decisive += 1;
  }
  return decisive;
}

/** For each file, what SQL says of each expression. */
async function matchAll(client: pg.Client, batch: Expression[]): Promise<unknown[][]> {
  try {
    return await select(client, batch, "f");
  } catch (error) {
    for (const expression of batch)
      await select(client, [expression], "f").catch((cause) => {
        throw new Error(`SQL raised on ${expression.source}\n${predicate(expression, [])}`, { cause });
      });
    throw error;
  }
}

async function select(client: pg.Client, batch: Expression[], from: string, values: unknown[] = []): Promise<unknown[][]> {
  const list = batch.map((expression) => predicate(expression, values)).join(",\n");
  const { rows } = await client.query({ text: `SELECT ${list} FROM ${from} ORDER BY row_no`, values, rowMode: "array" });
  return rows;
}

/** The file's values as constants of the statement: the planner calculates then, in an order of its own. */
export async function matchConstants(client: pg.Client, batch: Expression[], file: FileValues): Promise<unknown[]> {
  const values = Object.values(file).map(String);
  const constants = Object.entries(fileVariableTypes).map(
    ([name, type], n) => `$${n + 1}::${type === "string" ? "text" : "bigint"} AS ${name}`,
  );
  const [row] = await select(client, batch, `(SELECT 0 AS row_no, ${constants.join(", ")}) f`, values);
  return row ?? [];
}

function inspect(file: FileValues): string {
  return JSON.stringify(file, (_, value) => (typeof value === "bigint" ? value.toString() : value));
}
