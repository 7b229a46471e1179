/** What a scan must refuse of a tree, worked out from the witness's raw bytes. */
import { isUtf8 } from "node:buffer";
import type { Witness } from "./witness.js";

/** Of `problems --json`, what does not depend on how the scan was cut into chunks. */
export interface Problem {
  dirPath: string;
  name: string;
  reason: string;
  unreadable: boolean;
}

export function problemLines(problems: Problem[]): string[] {
  return problems.map(({ dirPath, name, reason, unreadable }) => [dirPath, name, reason, unreadable].join(" | "));
}

/** Of directories whose paths differ only in case, a share that ignores case takes the first. */
export function expectedProblems(witness: Witness, type: "LucidLink" | "SMB"): Problem[] {
  const refused = (dirPath: Buffer, name: string, reason: string): Problem => ({
    dirPath: printable(dirPath),
    name,
    reason,
    unreadable: false,
  });
  const problems: Problem[] = [];
  const walked = witness.directories.filter((path) => type === "LucidLink" || !path.includes("\\"));
  for (const path of walked.filter((path) => !isUtf8(path))) problems.push(refused(path, "", "listing refused: the path is not UTF-8"));
  for (const { path } of witness.files) {
    const [directory, name] = split(path);
    if (!isUtf8(directory) || (type === "SMB" && directory.includes("\\"))) continue;
    if (type === "SMB" && name.includes("\\")) problems.push(refused(directory, printable(name), "the name contains a separator (\\)"));
    else if (!isUtf8(name)) problems.push(refused(directory, printable(name), "the name is not UTF-8"));
  }
  if (type === "LucidLink") return problems;
  for (const path of witness.directories.filter((path) => path.includes("\\"))) {
    const [parent, name] = split(path);
    // What is below such a directory is not looked at.
    if (!parent.includes("\\")) problems.push(refused(parent, printable(name), "the directory's name contains a separator (\\)"));
  }
  return problems;
}

/** The directory of a path, and the name in it. */
export function split(path: Buffer): [Buffer, Buffer] {
  const at = path.lastIndexOf("/");
  return [at === 0 ? Buffer.from("/") : path.subarray(0, at), path.subarray(at + 1)];
}

const utf8OrByte =
  /((?:[\0-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})+)|([\x80-\xff])/g;

/** Text, with the bytes that are none as \xNN. */
function printable(bytes: Buffer): string {
  return bytes
    .toString("latin1")
    .replace(utf8OrByte, (_all, text: string | undefined, byte: string) =>
      text === undefined ? `\\x${byte.charCodeAt(0).toString(16)}` : Buffer.from(text, "latin1").toString(),
    );
}
