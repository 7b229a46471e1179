/** What of the trail to read in the next round. */
import { type AuditRun, addProblem, measure } from "./audit-run.js";
import { adoptMovedCursor, type Cursors, listCursors, lookAt, newTrackedFile, type TrackedFile } from "./audit-state.js";
import { listAuditFiles } from "./audit-trail.js";

/** How long an operator who sets a cursor back waits for a running agent to notice. */
const cursorsEveryMs = 30_000;
/** Settled files looked at in each round, one after the other: a trail of years has tens of thousands. */
const lookedAtPerRound = 256;

/** Each call lists the trail's files, in order, with how far each was read; once in a while by the server's cursors. */
export function createSurvey(run: AuditRun, root: string): () => Promise<TrackedFile[]> {
  let cursors: Cursors | undefined;
  let cursorsAtMs = 0;
  let firstLooked = 0;

  async function refreshCursors(): Promise<Cursors> {
    if (cursors !== undefined && performance.now() - cursorsAtMs < cursorsEveryMs) return cursors;
    const listed = await run.retrier.run(() => listCursors(run.client, run.options.shareName, run.signal));
    run.retrier.progressed();
    for (const tracked of run.files.values()) adoptMovedCursor(tracked, listed);
    cursorsAtMs = performance.now();
    cursors = listed;
    return listed;
  }

  /** Some of those that are not opened in any case. */
  function nextToLookAt(files: TrackedFile[]): TrackedFile[] {
    const settled = files.filter(({ settledStamp }) => settledStamp !== undefined);
    if (firstLooked >= settled.length) firstLooked = 0;
    const some = settled.slice(firstLooked, firstLooked + lookedAtPerRound);
    firstLooked += lookedAtPerRound;
    return some;
  }

  return async () => {
    const first = cursors === undefined;
    const known = await refreshCursors();
    const files = (await listAuditFiles(root, (problem) => addProblem(run, problem))).map((file) => {
      const tracked = run.files.get(file.auditFilePath) ?? newTrackedFile(file, known);
      tracked.file = file;
      run.files.set(file.auditFilePath, tracked);
      return tracked;
    });
    // At first all of them, for how much there is to read.
    await lookAt(first ? files : nextToLookAt(files));
    measure(run);
    return files;
  };
}
