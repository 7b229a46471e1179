/** What Explain found of each condition, in words. */
import type { ExclusionReason } from "./classify.js";
import type { ExplainedFile } from "./explained-file.js";
import { coveringGlobs } from "./held.js";
import type { Situation } from "./situation.js";

export function detailOf(reason: ExclusionReason, file: ExplainedFile, { share, holdGlobs }: Situation): string {
  switch (reason) {
    case "missing":
      return file.missing_since_scan_id === null ? "The file is there." : `Missing since scan ${file.missing_since_scan_id}.`;
    case "metadata_incomplete":
      return file.metadata_complete ? "Size and times are known." : "Only audit events told of it: the next scan brings size and times.";
    case "metadata_stale":
      return file.stale_metadata
        ? "Written since the last scan: the next one reads size and times again."
        : "Nothing was written since the last scan.";
    case "hard_links":
      return file.link_count === null
        ? "The source does not tell how many names it has."
        : file.link_count === 1
          ? "It has one name."
          : `It has ${file.link_count} names.`;
    case "tiered":
      return file.state === null ? "It has never been planned." : `Its tier object is ${file.state}.`;
    case "resident":
      return file.resident_until_utc === null
        ? "It has never been rehydrated."
        : `It stays on the share until ${file.resident_until_utc.toISOString()}.`;
    case "target_pending":
      return file.wanted_action === null ? "Nothing is to be done at the target." : `A mover is still to do ${file.wanted_action}.`;
    case "held": {
      const globs = coveringGlobs(holdGlobs, share.case_sensitive, file.path);
      return globs.length === 0 ? `Of the share's holds (${holdGlobs.length}) none covers it.` : `Held by ${globs.join(", ")}.`;
    }
  }
}
