/** Bounds of the ingest pipeline, each with its reason. */

/** A segment is cut when it has this many files: beyond it the merge's hash tables outgrow work_mem, and little is gained. */
export const segmentFiles = 50_000;
/** ... or this many bytes of rows. With many streams each gets a smaller part of `bufferedBytes`. */
export const segmentBytes = 8 * 1024 * 1024;
/** Rows that all streams of a process may hold in memory together. A huge directory streams beyond it, at COPY's pace. */
export const bufferedBytes = 48 * 1024 * 1024;
/** A segment is never cut smaller than this for want of memory: below it, transactions cost more than rows. */
export const leastSegmentBytes = 512 * 1024;
/** ... or when its first chunk is this old, so that a slow stream's work is committed too. */
export const segmentAgeMs = 1000;
/** One more segment may be merged while its predecessor is: two cores, and the order of commits keeps a third waiting anyway. */
export const segmentsInFlight = 2;
/** A single directory may be huge, a transaction may not be endless. */
export const segmentFilesAtMost = 20_000_000;
/** Writers of one scan: each is a row that FinishScan counts. */
export const writersAtMost = 64;
/** A stream with more refused records than this is broken at its source: it ends with RESOURCE_EXHAUSTED. */
export const problemsAtMost = 10_000;
/** Where a segment would trip the brake, files of the scan that are looked at for having moved: 100,000 take a quarter of a second. */
export const movesCountedAtMost = 500_000n;
/** Problems repeated in a stream's response; all of them are kept in scan_problem. */
export const problemsInResponse = 1000;

/** Longest name in bytes: 255 UTF-16 units of a name take at most 1,020, and two names fit a b-tree entry of 2,704 bytes. */
export const nameBytesAtMost = 1020;
/** Longest path of a directory in bytes: NTFS allows 32,767 UTF-16 units, each at most 3 bytes of UTF-8. */
export const pathBytesAtMost = 98_301;
/** Directories on the way to one, itself included: each is a row that has its whole path. */
export const levelsAtMost = 1000;
/** Text of the directories that a statement finds or makes, in UTF-16 units. */
export const directoryTextAtOnce = 4 * 1024 * 1024;
export const ownerBytesAtMost = 256;
/** 0001-01-01 and 9999-12-31T23:59:59Z, in seconds: what a timestamptz, and any calendar, can show. */
export const earliestUnix = -62_135_596_800;
export const latestUnix = 253_402_300_799;
/** Files that one transaction of FinishScan moves or marks missing: it holds the share's lock alone. */
export const finishBatchFiles = 20_000;
/** Events that an audit stream gathers while a transaction is under way; beyond it nothing is read. */
export const auditEventsInTransaction = 5_000;
/** ... or so many bytes: lines may be long. */
export const auditBytesInTransaction = 16 * 1024 * 1024;
/** ... and no more than it probably gets through in this time: it holds the share alone, and is done again if it is lost. */
export const auditTransactionMs = 4000;
/** An audit transaction that lost a race is run again so often before the stream is told. */
export const auditRetries = 5;
/** Directories left by audit events whose history one transaction of FinishScan brings in step. */
export const finishBatchDirs = 1000;
