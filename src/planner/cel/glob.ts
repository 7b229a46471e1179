/**
 * glob(text, pattern). `*` is any run of characters but `/`, `?` one character but `/`; `**` stands alone between slashes:
 * `/**` + `/` is any number of directories, also none, and a last `/**` is all that is below. Everything else is itself, `[`, `{` and `\`
 * too; case counts. One function for each engine: a regular expression for PostgreSQL, whose matcher does not backtrack, and a
 * walk over sets of positions here, which takes text times pattern steps at most.
 */
import { globLengthAtMost, globWildcardsAtMost } from "./language.js";

type Part =
  | { kind: "literal"; character: string }
  | { kind: "one" }
  | { kind: "run" }
  /** Between two slashes, the second one included: nothing, or directories that each end with a slash. */
  | { kind: "directories" }
  | { kind: "rest" };

/** Why `pattern` is refused, and what to write; undefined if it is fine. */
export function globFault(pattern: string): string | undefined {
  if (pattern === "") return 'an empty pattern matches the empty text alone: write == ""';
  if (pattern.length > globLengthAtMost) return `the pattern has ${pattern.length} characters; the most is ${globLengthAtMost}`;
  const wildcards = pattern.match(/\*+|\?/g)?.length ?? 0;
  if (wildcards > globWildcardsAtMost) return `the pattern has ${wildcards} wildcards; the most is ${globWildcardsAtMost}`;
  if (pattern.split("/").some((component) => component.includes("**") && component !== "**"))
    return '** has to stand alone between slashes, as in "/Active/**" or "/**/*.mov"';
  return undefined;
}

function partsOf(pattern: string): Part[] {
  const parts: Part[] = [];
  const components = pattern.split("/");
  for (const [index, component] of components.entries()) {
    const last = index === components.length - 1;
    if (component === "**") {
      parts.push(last ? { kind: "rest" } : { kind: "directories" });
      continue;
    }
    for (const character of component)
      parts.push(character === "*" ? { kind: "run" } : character === "?" ? { kind: "one" } : { kind: "literal", character });
    if (!last) parts.push({ kind: "literal", character: "/" });
  }
  return parts;
}

/** What every match starts and ends with: cheap to look at before the regular expression. */
export function globEnds(pattern: string): { prefix: string; suffix: string; whole: boolean; below: boolean } {
  const parts = partsOf(pattern);
  const letters = (some: Part[]) => some.map((part) => (part.kind === "literal" ? part.character : "")).join("");
  const isWild = (part: Part) => part.kind !== "literal";
  const first = parts.findIndex(isWild);
  const last = parts.findLastIndex(isWild);
  return {
    prefix: letters(first < 0 ? parts : parts.slice(0, first)),
    suffix: letters(parts.slice(last + 1)),
    whole: first < 0,
    below: first === parts.length - 1 && parts[first]?.kind === "rest",
  };
}

/** An advanced regular expression of PostgreSQL, anchored. Its `.` and `[^/]` match a line break too, and `$` is the very end. */
export function globRegex(pattern: string): string {
  return `^${partsOf(pattern).map(partRegex).join("")}$`;
}

function partRegex(part: Part): string {
  switch (part.kind) {
    case "literal":
      return /[\^$.*+?()[\]{}|\\]/.test(part.character) ? `\\${part.character}` : part.character;
    case "one":
      return "[^/]";
    case "run":
      return "[^/]*";
    case "directories":
      return "(?:.*/)?";
    case "rest":
      return ".*";
  }
}

/** The same for the CEL evaluator. */
export function globMatches(text: string, pattern: string): boolean {
  const characters = [...text];
  // ends[n]: the first n characters can be what the parts so far stand for.
  let ends = new Array<boolean>(characters.length + 1).fill(false).with(0, true);
  for (const part of partsOf(pattern)) ends = endsAfter(part, ends, characters);
  return ends[characters.length] === true;
}

function endsAfter(part: Part, ends: boolean[], characters: string[]): boolean[] {
  // Whether the part can have begun, and still go on, before the character that is looked at.
  let going = false;
  return ends.map((here, n) => {
    const character = characters[n - 1];
    if (part.kind === "literal") return ends[n - 1] === true && character === part.character;
    if (part.kind === "one") return ends[n - 1] === true && character !== "/";
    const longer = going && !(part.kind === "run" && character === "/");
    going = longer || here;
    return part.kind === "directories" ? here || (longer && character === "/") : going;
  });
}
