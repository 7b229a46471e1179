/** frostline.v1.ScanService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { ScanMode, type ScanProblemSchema, type ScanSchema, ScanStatus } from "../gen/frostline/v1/scan_pb.js";
import { abortScan, finishScan } from "../ingest/finish.js";
import { type IngestContext, pushScan } from "../ingest/push.js";
import * as scans from "../ingest/scans.js";
import type { Problem } from "../ingest/segment.js";
import { invalidField } from "../tenancy/validate.js";
import { caller, type ServerDeps } from "./context.js";
import { timestampField } from "./convert.js";
import { observed } from "./observed.js";
import { decodePageToken, encodePageToken, pageSize, pageTokenNumber } from "./pages.js";
import type { ScanServiceView } from "./push-view.js";

const statuses: Record<scans.ScanStatus, ScanStatus> = {
  RUNNING: ScanStatus.RUNNING,
  OK: ScanStatus.OK,
  WARN: ScanStatus.WARN,
  ERROR: ScanStatus.ERROR,
  ABANDONED: ScanStatus.ABANDONED,
};

export function scanService({ pool, log }: ServerDeps, ingest: IngestContext): ServiceImpl<typeof ScanServiceView> {
  const { connections } = ingest;
  return {
    async startScan({ shareName, mode, uniqueFrn, exactListTimes }, context) {
      const start = { shareName, mode: fromMode(mode), uniqueFrn, exactListTimes };
      return { scan: toScan(await scans.startScan(pool, caller(context).tenantId, start)) };
    },
    async pushScan(messages, context) {
      const call = caller(context);
      const { nextChunkNo, repeatedChunks, problems, writer } = await pushScan(observed(ingest, log, call), call.tenantId, messages);
      return { nextChunkNo, repeatedChunks, problems: problems.map((problem) => toProblem(problem, writer)) };
    },
    async finishScan({ scanId, chunks }, context) {
      const call = caller(context);
      const scan = await finishScan(observed(ingest, log, call), call.tenantId, scanId, chunks);
      log.info({ requestId: call.requestId, tenantId: call.tenantId, ...figures(scan) }, "a scan has ended");
      return { scan: toScan(scan) };
    },
    async confirmBrake({ scanId }, context) {
      return { scan: toScan(await scans.confirmBrake(pool, caller(context).tenantId, scanId)) };
    },
    async abortScan({ scanId }, context) {
      return { scan: toScan(await abortScan(connections, caller(context).tenantId, scanId)) };
    },
    async getScan({ scanId }, context) {
      const { scan, writers } = await scans.getScan(pool, caller(context).tenantId, scanId);
      return { scan: toScan(scan), writers };
    },
    async listScans(request, context) {
      const size = pageSize(request.pageSize, 100, 1000);
      const token = decodePageToken(request.pageToken, 1);
      const before = token && pageTokenNumber(token[0]);
      const rows = await scans.listScans(pool, caller(context).tenantId, request.shareName, before, size);
      const last = rows.at(-1);
      return { scans: rows.map(toScan), nextPageToken: last && rows.length === size ? encodePageToken([last.scanId]) : "" };
    },
    async listScanProblems(request, context) {
      const size = pageSize(request.pageSize, 100, 1000);
      const token = decodePageToken(request.pageToken, 3);
      const after = token && {
        writer: token[0] as string,
        chunkNo: pageTokenNumber(token[1]),
        ordinal: Number(pageTokenNumber(token[2], 32)),
      };
      const rows = await scans.listProblems(pool, caller(context).tenantId, request.scanId, after, size);
      const last = rows.at(-1);
      const next = last && rows.length === size ? encodePageToken([last.writer, last.chunkNo, last.ordinal]) : "";
      return { problems: rows.map((row) => toProblem(row, row.writer)), nextPageToken: next };
    },
  };
}

function fromMode(mode: ScanMode): scans.ScanMode {
  if (mode === ScanMode.FULL) return "FULL";
  if (mode === ScanMode.PARTIAL) return "PARTIAL";
  throw invalidField("mode", "must be FULL or PARTIAL.");
}

/** For the log. */
function figures({ scanId, shareName, mode, status, filesListed, added, changed, gone, moved, refused, unreadable }: scans.ScanRow) {
  const counts = { files: filesListed, added, changed, removed: gone, moved, refused, unreadableDirectories: unreadable };
  const numbers = Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, Number(count)]));
  return { scanId: String(scanId), share: shareName, mode, status, ...numbers };
}

function toScan(scan: scans.ScanRow): MessageInitShape<typeof ScanSchema> {
  const held = scan.status === "RUNNING" && scan.brakeWanted !== null && scan.brakeConfirmedUtc === null;
  return {
    scanId: scan.scanId,
    shareName: scan.shareName,
    mode: scan.mode === "FULL" ? ScanMode.FULL : ScanMode.PARTIAL,
    status: statuses[scan.status],
    ...timestampField("startTime", scan.startedUtc),
    ...timestampField("finishTime", scan.finishedUtc),
    counts: {
      directories: scan.dirsListed,
      files: scan.filesListed,
      sizeBytes: scan.bytesListed,
      added: scan.added,
      changed: scan.changed,
      removed: scan.gone,
      moved: scan.moved,
      refused: scan.refused,
      unreadableDirectories: scan.unreadable,
      repeatedChunks: scan.repeatedChunks,
    },
    ...(held ? { brake: { wouldBeMissing: scan.brakeWanted ?? 0n, limit: scan.brakeLimit ?? 0n } } : {}),
    finishing: scan.finishingUtc !== null,
    uniqueFrn: scan.uniqueFrn,
    exactListTimes: scan.exactListTimes,
  };
}

function toProblem(problem: Problem, writer: string): MessageInitShape<typeof ScanProblemSchema> {
  const { chunkNo, recordIndex, dirPath, name, reason, unreadable } = problem;
  return { writer, chunkNo, recordIndex, dirPath, name, reason, unreadable };
}
