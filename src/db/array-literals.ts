/**
 * Arrays as parameters. pg writes an array element by element, each through a chain of type checks and a
 * regular expression; for tens of thousands of elements in a statement that took longer than the statement.
 */

/** For a parameter that is cast to bigint[], integer[], boolean[] or uuid[]. */
export function plainArray(values: (bigint | number | boolean | string | null | undefined)[]): string {
  let text = "{";
  // By index: an iterator's pairs were a tenth of all that a server allocated in a first scan.
  for (let at = 0; at < values.length; at += 1) text += `${at === 0 ? "" : ","}${values[at] ?? "NULL"}`;
  return `${text}}`;
}

/** For a parameter that is cast to text[]. */
export function textArray(values: string[]): string {
  let text = "{";
  for (let at = 0; at < values.length; at += 1) {
    const value = values[at] as string;
    const escaped = value.includes("\\") || value.includes('"') ? value.replace(/["\\]/g, "\\$&") : value;
    text += `${at === 0 ? "" : ","}"${escaped}"`;
  }
  return `${text}}`;
}
