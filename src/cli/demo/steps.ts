/** What the demo does and shows, step by step. */
import * as path from "node:path";
import { createClient } from "../../agent/client.js";
import { FileService } from "../../gen/frostline/v1/file_pb.js";
import { type Scan, ScanMode, ScanSchema, ScanService } from "../../gen/frostline/v1/scan_pb.js";
import { ShareService } from "../../gen/frostline/v1/share_pb.js";
import type { Demo } from "../demo.js";
import { isCaseSensitive } from "../ensure-share.js";
import { count } from "../format.js";
import { changeWords, scanSummary, transfer } from "../run-scan.js";
import { problemLine } from "../scans.js";
import { defaultType, sourceType } from "../share.js";
import { walkSource } from "../walk-source.js";
import { createDifferences } from "./differences.js";
import { createReport } from "./report.js";
import type { DemoServer } from "./server.js";

const problemsShown = 20;

/** The share whose root is `root`: that of an earlier demo, or a new one under a free name. */
export async function shareFor(server: DemoServer, root: string): Promise<string> {
  const operator = createClient({ server: server.address, key: server.keys.admin });
  try {
    const { shares } = await operator.unary(ShareService.method.listShares, {});
    const known = shares.find((share) => share.sourceRoot === root);
    if (known) return known.shareName;
    const taken = new Set(shares.map((share) => share.shareName));
    const base =
      path
        .basename(root)
        .replace(/\p{Cc}/gu, "_")
        .slice(0, 100) || "root";
    let shareName = base;
    for (let n = 2; taken.has(shareName); n += 1) shareName = `${base}-${n}`;
    // The demo may be run again after anything has happened to the directory: no brake.
    const request = {
      shareName,
      sourceType: sourceType(defaultType),
      sourceRoot: root,
      caseSensitive: await isCaseSensitive(root),
      brakePercent: 100,
    };
    await operator.unary(ShareService.method.createShare, request);
    return shareName;
  } finally {
    operator.close();
  }
}

/** Scans the whole tree once over the socket. */
export async function scanOnce(run: Demo, title: string): Promise<Scan> {
  await run.say(["", `${title}: ${run.root}`]);
  const startedMs = Date.now();
  const { scan } = await transfer(
    run.agent,
    run.context,
    {
      shareName: run.shareName,
      mode: ScanMode.FULL,
      uniqueFrn: process.platform === "win32",
      exactListTimes: true,
      resume: "restart",
      source: walkSource(run.root, { signal: run.signal }).source,
    },
    run.signal,
  );
  if (run.context.output.json) await run.context.output.printMessages(ScanSchema, [scan]);
  await run.say([scanSummary(scan, Date.now() - startedMs)]);
  return scan;
}

/** What the scan could not take, if anything. */
export async function sayFound(run: Demo, scan: Scan): Promise<void> {
  const { problems, nextPageToken } = await run.reader.unary(ScanService.method.listScanProblems, {
    scanId: scan.scanId,
    pageSize: problemsShown,
  });
  if (problems.length === 0) return;
  await run.say(["Refused or unreadable:", ...problems.map((problem) => `  ${problemLine(problem)}`)]);
  if (nextPageToken !== "")
    await run.say([
      `  ... and more: ${count(scan.counts?.refused ?? 0)} refused, ${count(scan.counts?.unreadableDirectories ?? 0)} unreadable`,
    ]);
}

/** The difference of the two scans, from the server. */
export async function sayChanges(run: Demo, first: Scan, second: Scan, folder: string | undefined): Promise<void> {
  const summary = createDifferences(folder ?? "");
  const request = { fromScanId: first.scanId, toScanId: second.scanId };
  for await (const { differences } of run.reader.serverStream(FileService.method.streamDiff, request, { signal: run.signal })) {
    for (const difference of differences) summary.add(difference);
  }
  await run.say(["", `What changed (scan counts: ${changeWords(second)}):`, ...summary.lines()]);
}

/** Oldest and largest files and the age by size table, from the snapshot of the scan. */
export async function sayInventory(run: Demo, scan: Scan): Promise<void> {
  const report = createReport(Math.floor(Date.now() / 1000));
  const stream = run.reader.serverStream(FileService.method.streamSnapshot, { scanId: scan.scanId }, { signal: run.signal });
  for await (const { files } of stream) for (const file of files) report.add(file);
  await run.say(["", ...report.lines()]);
}

/** Commands that work as they stand, in the directory they are printed in. */
export function goOnLines(run: Demo, first: Scan, second: Scan): string[] {
  const data = `--data ${shellWord(path.join(run.context.global.data, "demo"))}`;
  const share = `--share ${shellWord(run.shareName)}`;
  return [
    `To go on with this data, in ${process.cwd()}:`,
    `  npx frostline serve ${data}`,
    "and in another terminal, for example:",
    `  npx frostline scans ${share} ${data}`,
    `  npx frostline ls ${share} --min-size 1MiB --atime-before 30d ${data}`,
    `  npx frostline diff ${first.scanId} ${second.scanId} ${data}`,
    `  npx frostline scan DIR --share NAME ${data}`,
  ];
}

function shellWord(text: string): string {
  if (/^[\w@%+=:,./\\-]+$/.test(text)) return text;
  return process.platform === "win32" ? `"${text}"` : `'${text.replaceAll("'", "'\\''")}'`;
}
