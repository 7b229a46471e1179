/** Whether a hold covers a path: once in SQL, for many files, and once here, to name the holds of one. */
import { foldCase } from "../paths.js";
import { globEnds, globMatches, globRegex } from "./cel/glob.js";
import type { StatementParams } from "./statement.js";

/**
 * Preparing a regular expression takes longer than its length says: 500 of the worst patterns by 100 took PostgreSQL 45 s, by 20 8 s.
 * But each process keeps 32 prepared, and prepares anew what it lost for each file.
 */
const globsPerRegex = 20;
/** As many as leave room for those of rules. */
export const holdsOfShareAtMost = 300;

/** SQL, never null, of the SQL `path`; undefined when there is nothing to look at. */
export function heldSql(globs: string[], caseSensitive: boolean, path: string, params: StatementParams): string | undefined {
  // What lies below a directory, as nearly every hold says: a comparison of beginnings costs a tenth of a regular expression.
  const isBelow = (glob: string) => caseSensitive && globEnds(glob).below;
  const below = globs.filter(isBelow).map((glob) => `starts_with(${path}, ${params.add(globEnds(glob).prefix)}::text)`);
  const regexes = globs.filter((glob) => !isBelow(glob)).map((glob) => (caseSensitive ? globRegex(glob) : eitherCase(globRegex(glob))));
  const matched: string[] = [];
  for (let at = 0; at < regexes.length; at += globsPerRegex)
    matched.push(`${path} ~ ${params.add(regexes.slice(at, at + globsPerRegex).join("|"))}::text`);
  const all = [...below, ...matched];
  return all.length === 0 ? undefined : `(${all.join(" OR ")})`;
}

/** Those of `globs` that cover the path. */
export function coveringGlobs(globs: string[], caseSensitive: boolean, path: string): string[] {
  const fold = (text: string) => (caseSensitive ? text : foldCase(text));
  return globs.filter((glob) => globMatches(fold(path), fold(glob)));
}

/** The collation "C" knows case of ASCII letters alone, so each letter stands with its other case. Letters are never syntax here. */
function eitherCase(regex: string): string {
  return regex.replace(/\p{L}/gu, (letter) => {
    const cases = new Set([letter, letter.toLowerCase(), letter.toUpperCase()].filter((variant) => [...variant].length === 1));
    return cases.size === 1 ? letter : `[${[...cases].join("")}]`;
  });
}
