/** frostline.v1.FileService */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { DomainError } from "../errors.js";
import type { Turns } from "../fairness/turns.js";
import { FileChange, type FileDifferenceSchema, type FileInfo, FileInfoSchema, type FileService } from "../gen/frostline/v1/file_pb.js";
import { type FileDifference, streamDiff } from "../history/diff.js";
import type { FileVersion } from "../history/file-version.js";
import { streamSnapshot } from "../history/snapshot.js";
import { extensionOf } from "../ingest/records.js";
import type { CurrentFile } from "../inventory/current-file.js";
import { getFile } from "../inventory/get-file.js";
import { listFiles } from "../inventory/list-files.js";
import { renderPath, type SourceType } from "../paths.js";
import { caller, type ServerDeps } from "./context.js";
import { countThatFit, decodePageToken, encodePageToken, pageSize, pageTokenNumber, type Sized } from "./pages.js";

const defaultPageSize = 1000;
const maxPageSize = 10_000;
const filesPerMessage = 500;
/** Up to so many files are read and written in a few ms; a page of ten thousand would have everybody wait for a tenth of a second. */
const shortPage = 100;
/** A page may have fewer files than were asked for. */
const pageWhileOthersWait = 500;

export function fileService({ pool, config, shutdownSignal }: ServerDeps, turns: Turns): ServiceImpl<typeof FileService> {
  // A stream holds a connection for as long as its client reads: half of them stay for everything else.
  const streams = createSlots(Math.max(1, Math.floor(config.queryPoolMax / 2)));
  return {
    async listFiles(request, context) {
      const wanted = pageSize(request.pageSize, defaultPageSize, maxPageSize);
      const [after = "0"] = decodePageToken(request.pageToken, 1) ?? [];
      const filter = request.filter ?? { dirPath: "", fileExtension: "", includeMissing: false };
      const { tenantId } = caller(context);
      const { othersWait } = wanted > shortPage ? await turns.begin(tenantId, context.signal) : { othersWait: false };
      const limit = othersWait ? Math.min(wanted, pageWhileOthersWait) : wanted;
      const { share, files } = await listFiles(pool, tenantId, request.shareName, filter, pageTokenNumber(after), limit);
      const page = files.slice(0, countThatFit(files, limit));
      const last = page.at(-1);
      const isLast = page.length === files.length && files.length < limit;
      return {
        files: page.map((file) => fromCurrent(share.src_type, file)),
        nextPageToken: isLast || last === undefined ? "" : encodePageToken([last.file_current_id]),
      };
    },
    async getFile({ shareName, path }, context) {
      const { share, file } = await getFile(pool, caller(context).tenantId, shareName, path);
      return { file: fromCurrent(share.src_type, file) };
    },
    async *streamSnapshot({ scanId }, context) {
      const signal = AbortSignal.any([context.signal, shutdownSignal]);
      const release = streams.take();
      try {
        for await (const rows of streamSnapshot(pool, caller(context).tenantId, scanId, signal)) {
          for (const batch of batches(rows)) yield { files: batch.map(fromVersion) };
        }
      } finally {
        release();
      }
    },
    async *streamDiff({ fromScanId, toScanId }, context) {
      const signal = AbortSignal.any([context.signal, shutdownSignal]);
      const release = streams.take();
      try {
        for await (const rows of streamDiff(pool, caller(context).tenantId, fromScanId, toScanId, signal)) {
          for (const batch of batches(rows)) yield { differences: batch.map(toDifference) };
        }
      } finally {
        release();
      }
    },
  };
}

/** A bounded number of things at once; the next one is told to come back. */
function createSlots(most: number): { take(): () => void } {
  let taken = 0;
  return {
    take() {
      if (taken >= most) {
        throw new DomainError("RESOURCE_EXHAUSTED", `${most} snapshots and diffs are being read already. Try again when one has ended.`, {
          reason: "TOO_MANY_STREAMS",
          retryDelayMs: 5000,
        });
      }
      taken += 1;
      return () => {
        taken -= 1;
      };
    },
  };
}

function* batches<Row extends Sized>(rows: Row[]): Generator<Row[]> {
  for (let from = 0; from < rows.length; ) {
    const rest = rows.slice(from, from + filesPerMessage);
    const batch = rest.slice(0, countThatFit(rest, filesPerMessage));
    yield batch;
    from += batch.length;
  }
}

function fromCurrent(sourceType: SourceType, file: CurrentFile): FileInfo {
  const info = fromValues(sourceType, file);
  info.fileExtension = file.file_extension;
  info.lastAccessedSource = file.last_accessed_source;
  info.metadataComplete = file.metadata_complete;
  if (file.missing_since_scan_id !== null) info.missingSinceScanId = file.missing_since_scan_id;
  return info;
}

function fromVersion(file: FileVersion): FileInfo {
  const info = fromValues(file.src_type, file);
  info.fileExtension = Buffer.from(extensionOf(Buffer.from(file.name))).toString();
  info.lastAccessedSource = "initial_scan";
  info.metadataComplete = true;
  return info;
}

const changes = { A: FileChange.ADDED, C: FileChange.CHANGED, R: FileChange.REMOVED };

function toDifference(row: FileDifference): MessageInitShape<typeof FileDifferenceSchema> {
  return { change: changes[row.difference], file: fromVersion(row) };
}

/** What is null stays absent. Field by field: objects spread into each other cost a stream a quarter of its speed. */
function fromValues(sourceType: SourceType, file: Omit<FileVersion, "src_type">): FileInfo {
  const info = create(FileInfoSchema);
  info.fileId = file.file_current_id;
  info.path = renderPath(sourceType, file.dir_path, file.name);
  if (file.size_bytes !== null) info.sizeBytes = file.size_bytes;
  if (file.allocated_bytes !== null) info.allocatedBytes = file.allocated_bytes;
  if (file.atime_unix !== null) info.atimeUnix = file.atime_unix;
  if (file.mtime_unix !== null) info.mtimeUnix = file.mtime_unix;
  if (file.ctime_unix !== null) info.ctimeUnix = file.ctime_unix;
  if (file.link_count !== null) info.linkCount = BigInt(file.link_count);
  if (file.owner !== null) info.owner = file.owner;
  if (file.frn !== null) info.frn = BigInt.asUintN(64, file.frn);
  if (file.file_hash !== null) info.fileHash = new Uint8Array(file.file_hash);
  return info;
}
