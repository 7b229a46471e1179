/**
 * Columns as lists, in a single row. Of thousands of rows pg makes as many messages, objects and values; a list is one text, taken apart where it is
 * needed: a fifth of the CPU.
 */

/** To be selected; each list is named as its column, which is of numbers or booleans. */
export function asLists(columns: readonly string[]): string {
  return columns.map((column) => `array_to_string(array_agg(${column}), ',', '') AS ${column}`).join(", ");
}

/** The elements of a list, as text; `t` and `f` for booleans, nothing for NULL. A list of no rows is NULL. */
export function listed(list: string | null | undefined): string[] {
  return typeof list === "string" ? list.split(",") : [];
}

export function numberOf(element: string | undefined): bigint | undefined {
  return element === undefined || element === "" ? undefined : BigInt(element);
}
