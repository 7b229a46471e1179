/** The scenario in the JSON of the messages, for whatever carries that to the server. */
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import type { JsonValue } from "@bufbuild/protobuf";
import { z } from "zod";
import type { Scope } from "../support/tenant.js";
import { directories, type Scenario, type Told, tree } from "./scenario.js";

export type Json = JsonValue;

const files = z.coerce.number();
/** Of the answers, what a scenario reads. */
export const cursorAnswer = z.object({ position: z.coerce.number() });
export const previewAnswer = z.object({ funnel: z.object({ planned: z.object({ files }) }) });
export const planAnswer = z.object({ plan: previewAnswer });
const startAnswer = z.object({ scan: z.object({ scanId: z.string() }) });
const snapshotPage = z.object({ files: z.array(z.object({ path: z.string() })) });

/** Methods are named as `ShareService/GetShare`. Calls reject with what the server said. */
export interface Transport {
  unary(scope: Scope, method: string, request: Json): Promise<unknown>;
  clientStream(scope: Scope, method: string, requests: Json[]): Promise<unknown>;
  serverStream(scope: Scope, method: string, request: Json): Promise<unknown[]>;
}

export async function runInJson(scenario: Scenario, transport: Transport): Promise<Told> {
  const { shareName, logPath, rule } = scenario;
  await transport.unary("agent", "ShareService/CreateShare", { shareName, sourceType: "SOURCE_TYPE_LUCIDLINK" });
  const scanId = await scan(scenario, transport);
  await transport.clientStream("agent", "AuditService/PushAudit", await auditMessages(scenario));
  const read = await transport.unary("agent", "AuditService/GetAuditCursor", { shareName, auditFilePath: logPath });
  await expectSnapshot(scanId, transport);
  const spec = { ...rule, priority: 10, shareNames: [shareName] };
  await transport.unary("operator", "RuleService/ApplyRules", { ruleSet: { rules: [spec] } });
  const preview = await transport.unary("reader", "PlannerService/Preview", { shareName });
  const planned = await transport.unary("operator", "PlannerService/Plan", { shareName, requestId: crypto.randomUUID() });
  return {
    cursorPosition: z.object({ cursor: cursorAnswer }).parse(read).cursor.position,
    previewPlanned: previewAnswer.parse(preview).funnel.planned.files,
    planned: planAnswer.parse(planned).plan.funnel.planned.files,
  };
}

async function scan({ shareName, root }: Scenario, transport: Transport): Promise<string> {
  const started = await transport.unary("agent", "ScanService/StartScan", { shareName, mode: "SCAN_MODE_FULL", exactListTimes: true });
  const { scanId } = startAnswer.parse(started).scan;
  const listings = await Promise.all(directories.map((directory) => listing(root, directory)));
  const half = Math.ceil(listings.length / 2);
  await transport.clientStream("agent", "ScanService/PushScan", [
    { open: { scanId, writer: "main", nextChunkNo: "0" } },
    { chunk: { chunkNo: "0", directories: listings.slice(0, half) } },
    { chunk: { chunkNo: "1", directories: listings.slice(half) } },
  ]);
  await transport.unary("agent", "ScanService/FinishScan", { scanId, chunks: { main: "2" } });
  return scanId;
}

async function listing(root: string, directory: string): Promise<Json> {
  const names = await fs.readdir(path.join(root, directory), { withFileTypes: true });
  const files = await Promise.all(names.filter((entry) => entry.isFile()).map(({ name }) => record(path.join(root, directory, name))));
  return { path: base64(directory), listTime: new Date().toISOString(), files, complete: true };
}

async function record(file: string): Promise<Json> {
  const { size, mtimeMs, atimeMs, ctimeMs } = await fs.stat(file);
  const [mtime, atime, ctime] = [mtimeMs, atimeMs, ctimeMs].map((ms) => Math.floor(ms / 1000)) as [number, number, number];
  return {
    name: base64(path.basename(file)),
    sizeBytes: String(size),
    mtimeUnix: String(mtime),
    atimeBeforeMtime: String(mtime - atime),
    ctimeBeforeMtime: String(mtime - ctime),
  };
}

async function auditMessages({ shareName, volumeId, trail, logPath }: Scenario): Promise<Json[]> {
  const text = await fs.readFile(path.join(trail, `${logPath}.active`), "utf8");
  const line = text.slice(0, text.indexOf("\n") + 1);
  const { timestamp, user, device, event, operation } = JSON.parse(line);
  return [
    { open: { shareName, volumeId } },
    {
      batch: {
        auditFilePath: logPath,
        headFingerprint: createHash("sha256").update(line).digest("base64"),
        startOffset: "0",
        endOffset: String(Buffer.byteLength(line)),
        events: [
          {
            offset: "0",
            timeMicros: String(timestamp),
            action: "AUDIT_ACTION_READ",
            path: operation.entryPath,
            user: user.name,
            host: device.hostName,
            node: event.nodeId,
            actionName: operation.action,
          },
        ],
      },
    },
  ];
}

async function expectSnapshot(scanId: string, transport: Transport): Promise<void> {
  const pages = await transport.serverStream("reader", "FileService/StreamSnapshot", { scanId });
  const paths = pages.flatMap((page) => snapshotPage.parse(page).files.map((file) => file.path)).sort();
  const wanted = tree.map((file) => file.path).sort();
  if (JSON.stringify(paths) !== JSON.stringify(wanted)) throw new Error(`The snapshot has ${paths.join(", ")}`);
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
