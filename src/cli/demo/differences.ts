/** What changed between the demo's scans, in a few lines. Memory does not grow with the number of changes. */
import { FileChange, type FileDifference, type FileInfo } from "../../gen/frostline/v1/file_pb.js";
import { bytes, count, escaped } from "../format.js";

/** Differences kept to be shown and to pair the two ends of a rename; further ones are only counted. */
const keptLimit = 1000;
const shownLimit = 20;

export interface DifferenceSummary {
  add(difference: FileDifference): void;
  lines(): string[];
}

/** Differences whose path contains `first` are shown before all others, and are always kept. */
export function createDifferences(first: string): DifferenceSummary {
  const kept: FileDifference[] = [];
  let total = 0;
  return {
    add(difference) {
      total += 1;
      if (kept.length < keptLimit || difference.file?.path.includes(first)) kept.push(difference);
    },
    lines() {
      const lines = pairMoves(kept).sort((a, b) => Number(b.path.includes(first)) - Number(a.path.includes(first)));
      const shown = lines.slice(0, shownLimit).map(({ text }) => `  ${escaped(text)}`);
      if (total === 0) return ["  nothing"];
      // Each move is two differences on one line.
      const rest = total - kept.length + lines.length - shown.length;
      return rest > 0 ? [...shown, `  ... and ${count(rest)} more`] : shown;
    },
  };
}

/** A path removed and another added with the same file id are one file that moved. */
function pairMoves(differences: FileDifference[]): { path: string; text: string }[] {
  const removed = new Map<bigint, FileInfo>();
  const addedIds = new Set<bigint>();
  for (const { change, file } of differences) {
    if (file === undefined || file.fileId === 0n) continue;
    if (change === FileChange.REMOVED) removed.set(file.fileId, file);
    if (change === FileChange.ADDED) addedIds.add(file.fileId);
  }
  return differences.flatMap(({ change, file }) => {
    if (file === undefined) return [];
    const from = removed.get(file.fileId);
    if (change === FileChange.REMOVED) {
      return from === file && addedIds.has(file.fileId) ? [] : [{ path: file.path, text: `removed  ${file.path}` }];
    }
    if (change === FileChange.ADDED && from) return [{ path: file.path, text: `moved    ${from.path} -> ${file.path}` }];
    const word = change === FileChange.ADDED ? "added  " : "changed";
    return [{ path: file.path, text: `${word}  ${file.path} (${bytes(file.sizeBytes)})` }];
  });
}
