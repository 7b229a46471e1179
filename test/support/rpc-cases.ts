/**
 * For each call that acts for a tenant, requests that are good for a tenant furnished as in furnished-tenant.ts, as JSON; of a client's
 * stream, its messages. What they name is there. `page_token` is filled in by who asks. Two tenants' requests differ in what names something, and nowhere else.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import type { Furnishings } from "./furnished-tenant.js";

export type Messages = JsonObject[];
type Case = (of: Furnishings) => Messages[];

const base64 = (text: string) => Buffer.from(text).toString("base64");
const candidate = ({ word }: Furnishings) => ({ rules: [ruleOf(word, [word])], retireOthers: true });
const ruleOf = (name: string, shareNames: string[]) => ({
  name,
  priority: 200,
  shareNames,
  expression: "size > 6 * TB",
  targetUri: "s3://cold",
});
const exclusion = ({ word }: Furnishings) => ({ shareName: word, kind: "AUDIT_EXCLUSION_KIND_USER", value: word });

/** In this order: what is needed later goes last. */
export const rpcCases: Record<string, Case> = {
  "TenantService/CreateTenant": ({ code, word }) => [[{ code, name: word }]],
  "TenantService/ListTenants": () => [[{}]],
  "TenantService/CreateKey": ({ word }) => [[{ name: word, scopes: ["KEY_SCOPE_READER"], expireTime: "2099-01-01T00:00:00Z" }]],
  "TenantService/ListKeys": () => [[{}]],
  "TenantService/RevokeKey": ({ keyId }) => [[{ keyId }]],
  "JobService/ListJobs": () => [[{}]],
  "JobService/RunJob": () => [[{ job: "retention" }]],
  "ShareService/GetShare": ({ word }) => [[{ shareName: word }]],
  "ShareService/SetStaleScanAlarm": ({ word }) => [[{ shareName: word, staleScanAlarmSeconds: "3600" }]],
  "ShareService/ListShares": () => [[{}]],
  "FileService/ListFiles": ({ word }) => [[{ shareName: word, filter: { dirPath: `/${word}` } }], [{ shareName: word }]],
  "FileService/GetFile": ({ word, path }) => [[{ shareName: word, path }]],
  "FileService/StreamSnapshot": ({ doneScanId }) => [[{ scanId: doneScanId }]],
  "FileService/StreamDiff": ({ doneScanId }) => [[{ fromScanId: doneScanId, toScanId: doneScanId }]],
  "ScanService/GetScan": ({ runningScanId, doneScanId }) => [[{ scanId: runningScanId }], [{ scanId: doneScanId }]],
  "ScanService/ListScans": ({ word }) => [[{ shareName: word }]],
  "ScanService/ListScanProblems": ({ runningScanId }) => [[{ scanId: runningScanId }]],
  "ScanService/ConfirmBrake": ({ runningScanId }) => [[{ scanId: runningScanId }]],
  "ScanService/PushScan": ({ runningScanId, word }) => [
    [
      { open: { scanId: runningScanId, writer: word } },
      {
        chunk: {
          chunkNo: "1",
          owners: [word],
          directories: [{ path: base64(`/${word}`), complete: false, files: [{ name: base64("new"), sizeBytes: "1" }] }],
        },
      },
    ],
  ],
  "ScanService/FinishScan": ({ runningScanId, word }) => [[{ scanId: runningScanId, chunks: { [word]: "2" } }]],
  "ScanService/AbortScan": ({ spareScanId }) => [[{ scanId: spareScanId }]],
  "ScanService/StartScan": ({ word }) => [[{ shareName: word, mode: "SCAN_MODE_FULL", uniqueFrn: true, exactListTimes: true }]],
  "AuditService/GetAuditCursor": ({ word, auditFilePath }) => [[{ shareName: word, auditFilePath }]],
  "AuditService/ListAuditCursors": ({ word }) => [[{ shareName: word }]],
  "AuditService/PushAudit": ({ word, volumeId, path }) => [
    [
      { open: { shareName: word, volumeId } },
      {
        batch: {
          auditFilePath: `${word}/c.log`,
          headFingerprint: base64(word),
          startOffset: "0",
          endOffset: "3",
          events: [
            { offset: "0", timeMicros: "1800000000000000", action: "AUDIT_ACTION_READ", path, user: word, host: word, node: word },
            { offset: "1", timeMicros: "1800000000000001", action: "AUDIT_ACTION_MOVE", path: `${path} none`, targetPath: `${path} moved` },
          ],
        },
      },
    ],
  ],
  "AuditService/ResetAuditCursor": ({ word, auditFilePath }) => [[{ shareName: word, auditFilePath, position: "0" }]],
  "AuditService/ListAuditExclusions": () => [[{}]],
  "AuditService/RemoveAuditExclusion": (of) => [[{ exclusion: exclusion(of) }]],
  "AuditService/AddAuditExclusion": (of) => [[{ exclusion: exclusion(of) }]],
  "PlannerService/Preview": (of) => [[{ shareName: of.word, candidate: candidate(of), sampleSize: 5 }]],
  "PlannerService/CompareRules": (of) => [[{ shareName: of.word, candidate: candidate(of), sampleSize: 5 }]],
  "PlannerService/Explain": (of) => [[{ shareName: of.word, path: of.path, candidate: candidate(of) }]],
  "PlannerService/Plan": ({ word, requestId }) => [[{ shareName: word, requestId, confirmBrake: true }]],
  "PlannerService/ListPlans": ({ word }) => [[{ shareName: word }]],
  "TierService/ListTierObjects": ({ word }) => [[{ shareName: word, ruleName: `rule of ${word}` }], [{}]],
  "TierService/ReportTierObjects": ({ leasedId, leaseToken }) => [
    [{ reports: [{ tierId: leasedId, leaseToken, progress: { leaseSeconds: 7200 } }] }],
    [{ reports: [{ tierId: leasedId, leaseToken, skipped: { reason: "busy" } }] }],
  ],
  "TierService/CancelTierObjects": ({ plannedId }) => [[{ tierIds: [plannedId], reason: "asked for" }]],
  "TierService/ClaimTierObjects": ({ word }) => [
    [{ action: "TIER_ACTION_STUB", limit: 1, leaseSeconds: 600, holder: word, shareName: word }],
    [{ action: "TIER_ACTION_REHYDRATE", limit: 1, leaseSeconds: 600, holder: word }],
  ],
  "TierService/RequestRehydration": ({ word, stubbedId, path }) => [
    [{ tierIds: [stubbedId], reason: "asked for" }],
    [{ shareName: word, paths: [path], reason: "asked for" }],
  ],
  "TierService/RequestTargetDeletion": ({ rehydratedId }) => [[{ tierIds: [rehydratedId], reason: "asked for" }]],
  "WarmingService/ListWarmingEvents": ({ word, path }) => [
    [{ shareName: word, path, user: word, sinceTime: "2001-01-01T00:00:00Z" }],
    [{}],
  ],
  "WarmingService/ListWarmingStorms": ({ word }) => [[{ shareName: word }], [{}]],
  "WarmingService/WatchWarming": ({ word, position }) => [[{ shareName: word, afterPosition: "0" }], [{ afterPosition: position }]],
  "WarmingService/SetStormLimit": ({ word }) => [[{ shareName: word, filesPerMinute: 77 }]],
  "RuleService/GetRule": ({ word }) => [[{ name: word, version: 1 }]],
  "RuleService/ListRules": ({ word }) => [[{ includeRetired: true }], [{ name: word }]],
  "RuleService/ListHolds": ({ word }) => [[{ shareName: word }], [{}]],
  "RuleService/RemoveHold": ({ holdId }) => [[{ holdId }]],
  "RuleService/AddHold": ({ word }) => [[{ shareName: word, pathGlob: `/${word}/one/**`, reason: word }]],
  "RuleService/ApplyRules": ({ word, etag }) => [
    [{ ruleSet: { rules: [ruleOf(word, [word])] }, validateOnly: true, expectedEtag: etag }],
    [{ ruleSet: { rules: [ruleOf(`${word} two`, [word])] } }],
  ],
  "RuleService/DeleteRule": ({ word, etag }) => [[{ name: `${word} two` }], [{ name: word, expectedEtag: etag }]],
  "WebhookService/ListWebhooks": () => [[{}]],
  "WebhookService/ListDeliveries": ({ webhookId }) => [[{ webhookId }], [{}]],
  "WebhookService/CreateWebhook": ({ word }) => [[{ url: "https://hooks.example.com/new", eventTypes: ["scan.stale"], shareName: word }]],
  "WebhookService/UpdateWebhook": ({ webhookId }) => [[{ webhookId, includePaths: true }]],
  "WebhookService/RotateWebhookSecret": ({ webhookId }) => [[{ webhookId, overlapSeconds: 60 }]],
  "WebhookService/SendTestEvent": ({ webhookId }) => [[{ webhookId }]],
  "WebhookService/RetryDelivery": ({ deliveryId }) => [[{ deliveryId }]],
  "WebhookService/DeleteWebhook": ({ webhookId }) => [[{ webhookId }]],
  "DataKeyService/GetDataKey": () => [[{}]],
  "DataKeyService/RotateDataKey": () => [[{}]],
  "DataKeyService/RewrapDataKeys": () => [[{}]],
  "RetentionService/GetRetention": () => [[{}]],
  "RetentionService/SetRetentionPolicy": ({ word }) => [[{ policy: { shareName: word, keepScans: 8, keepDays: 8 } }]],
  "RetentionService/SetRetentionBounds": () => [[{ bounds: { auditLogDays: 9 } }]],
  "RetentionService/ErasePerson": ({ word }) => [[{ name: word }]],
  "RetentionService/ListErasures": () => [[{}]],
  "RetentionService/EraseTenant": ({ tenantId, code }) => [[{ tenantId, code }]],
  "ShareService/CreateShare": ({ word, volumeId }) => [
    [
      {
        shareName: `${word} made`,
        sourceType: "SOURCE_TYPE_LUCIDLINK",
        volumeId: `${volumeId} made`,
        sourceRoot: "/",
        caseSensitive: true,
        brakePercent: 60,
      },
    ],
    [{ shareName: `${word} two`, sourceType: "SOURCE_TYPE_LUCIDLINK", volumeId }],
  ],
  "RetentionService/EraseShare": ({ word }) => [[{ shareName: `${word} three` }], [{ shareName: word, abandonTiered: true }]],
};
