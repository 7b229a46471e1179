/** Whose trail it is, when the lines to send do not say. */
import { openAuditFile } from "./audit-file.js";
import type { TrackedFile } from "./audit-state.js";
import { parseLine } from "./lucidlink/parse.js";

/** No line says which filespace the trail is of, and without that nothing can be sent. */
export class NoVolumeError extends Error {
  override name = "NoVolumeError";
}

/** The volume id of the first line that has one, looked for at the begin of each file. Rejects with NoVolumeError, or with the system's error. */
export async function findVolume(files: Iterable<TrackedFile>): Promise<string> {
  for (const { file } of files) {
    const opened = await openAuditFile(file.paths, undefined);
    if (opened === undefined) continue;
    try {
      for await (const { lines } of opened.batches()) {
        for (const { offset, bytes } of lines) {
          const volumeId = bytes === undefined ? "" : parseLine(bytes, offset).volumeId;
          if (volumeId !== "") return volumeId;
        }
        break;
      }
    } finally {
      await opened.close();
    }
  }
  throw new NoVolumeError(
    "No line of the trail names its filespace (event.filespaceUuid), so nothing of it can be sent. It is tried again.",
  );
}
