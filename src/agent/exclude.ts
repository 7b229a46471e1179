/** Which entries a walk leaves out. */
import picomatch from "picomatch";

/** Snapshots, audit trails, recycle bins and Frostline's own data: not files of the share. Compared without case, at any depth. */
export const defaultExcludedNames = [
  ".snapshot",
  "~snapshot",
  ".lucid_audit",
  ".frostline",
  "$RECYCLE.BIN",
  "System Volume Information",
] as const;

export interface ExcludeOptions {
  /**
   * Globs (`*`, `**`, `?`, `[a-z]`, `{a,b}`). One with a `/` in it is matched on the path from the share's root, one without
   * on the bare name. What matches is left out, with everything below it.
   */
  exclude?: readonly string[];
  /** Whether defaultExcludedNames are left out. Default true. */
  defaultExcludes?: boolean;
}

/** True for an entry to leave out. `directory` is `/` or `/a/b`; all strings hold one byte a character. */
export type Excluder = (directory: string, name: string) => boolean;

export function createExcluder(options: ExcludeOptions): Excluder {
  const names = new Set(options.defaultExcludes === false ? [] : defaultExcludedNames.map((name) => name.toLowerCase()));
  const lengths = new Set([...names].map((name) => name.length));
  const isDefault = (name: string) => lengths.has(name.length) && names.has(name.toLowerCase());
  const globs = options.exclude ?? [];
  if (globs.length === 0) return (_directory, name) => isDefault(name);

  const nameGlobs = globs.filter((glob) => !glob.includes("/"));
  const pathGlobs = globs
    .filter((glob) => glob.includes("/"))
    .map((glob) => (glob.startsWith("/") || glob.startsWith("**") ? glob : `/${glob}`));
  const matchesName = nameGlobs.length === 0 ? () => false : picomatch(nameGlobs, { dot: true });
  const matchesPath = pathGlobs.length === 0 ? () => false : picomatch(pathGlobs, { dot: true });
  return (directory, name) => {
    if (isDefault(name)) return true;
    const text = textOf(name);
    if (matchesName(text)) return true;
    return matchesPath(`${directory === "/" ? "" : textOf(directory)}/${text}`);
  };
}

/** A person writes globs in text; bytes that are no UTF-8 become U+FFFD, which `*` and `?` match. */
function textOf(bytes: string): string {
  return Buffer.from(bytes, "latin1").toString("utf8");
}
