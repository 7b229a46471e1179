/** Which key may call what: the one table. A test compares it with the services' descriptors. */
import type { KeyScope } from "../tenancy/keys.js";

export interface Access {
  /** Any one of these will do; admin always does. */
  scopes: readonly KeyScope[];
  /** Only keys of the platform tenant. */
  platform?: true;
  /** No key is needed. */
  anyone?: true;
}

const reader: Access = { scopes: ["reader"] };
const agent: Access = { scopes: ["agent"] };
const operator: Access = { scopes: ["operator"] };
const admin: Access = { scopes: ["admin"] };
const platformAdmin: Access = { scopes: ["admin"], platform: true };
/** An agent has to find its share, and where it left off. */
const readerOrAgent: Access = { scopes: ["reader", "agent"] };
/** Movers run where the files are, as agents do. */
const mover: Access = { scopes: ["agent", "operator"] };
/** Probes have no keys; and what the contract is stands in public. */
const anyone: Access = { scopes: [], anyone: true };

/** By `service type name/method name`. */
export const access: ReadonlyMap<string, Access> = new Map([
  ["frostline.v1.TenantService/CreateTenant", platformAdmin],
  ["frostline.v1.TenantService/ListTenants", platformAdmin],
  ["frostline.v1.TenantService/CreateKey", admin],
  ["frostline.v1.TenantService/ListKeys", admin],
  ["frostline.v1.TenantService/RevokeKey", admin],
  ["frostline.v1.ShareService/CreateShare", { scopes: ["operator", "agent"] }],
  ["frostline.v1.ShareService/GetShare", readerOrAgent],
  ["frostline.v1.ShareService/ListShares", reader],
  ["frostline.v1.ShareService/SetStaleScanAlarm", operator],
  ["frostline.v1.ScanService/StartScan", agent],
  ["frostline.v1.ScanService/PushScan", agent],
  ["frostline.v1.ScanService/FinishScan", agent],
  ["frostline.v1.ScanService/ConfirmBrake", operator],
  ["frostline.v1.ScanService/AbortScan", agent],
  ["frostline.v1.ScanService/GetScan", readerOrAgent],
  ["frostline.v1.ScanService/ListScans", reader],
  ["frostline.v1.ScanService/ListScanProblems", readerOrAgent],
  ["frostline.v1.AuditService/PushAudit", agent],
  ["frostline.v1.AuditService/GetAuditCursor", readerOrAgent],
  ["frostline.v1.AuditService/ListAuditCursors", readerOrAgent],
  ["frostline.v1.AuditService/ResetAuditCursor", operator],
  ["frostline.v1.AuditService/ListAuditExclusions", reader],
  ["frostline.v1.AuditService/AddAuditExclusion", operator],
  ["frostline.v1.AuditService/RemoveAuditExclusion", operator],
  ["frostline.v1.RuleService/ApplyRules", operator],
  ["frostline.v1.RuleService/GetRule", reader],
  ["frostline.v1.RuleService/ListRules", reader],
  ["frostline.v1.RuleService/DeleteRule", operator],
  ["frostline.v1.RuleService/AddHold", operator],
  ["frostline.v1.RuleService/ListHolds", reader],
  ["frostline.v1.RuleService/RemoveHold", operator],
  ["frostline.v1.PlannerService/Preview", reader],
  ["frostline.v1.PlannerService/CompareRules", reader],
  ["frostline.v1.PlannerService/Explain", reader],
  ["frostline.v1.PlannerService/Plan", operator],
  ["frostline.v1.PlannerService/ListPlans", reader],
  ["frostline.v1.TierService/ListTierObjects", reader],
  ["frostline.v1.TierService/ClaimTierObjects", mover],
  ["frostline.v1.TierService/ReportTierObjects", mover],
  ["frostline.v1.TierService/RequestRehydration", operator],
  ["frostline.v1.TierService/CancelTierObjects", operator],
  ["frostline.v1.TierService/RequestTargetDeletion", operator],
  ["frostline.v1.WarmingService/ListWarmingEvents", reader],
  ["frostline.v1.WarmingService/ListWarmingStorms", reader],
  ["frostline.v1.WarmingService/WatchWarming", reader],
  ["frostline.v1.WarmingService/SetStormLimit", operator],
  ["frostline.v1.RetentionService/GetRetention", reader],
  ["frostline.v1.RetentionService/SetRetentionPolicy", admin],
  ["frostline.v1.RetentionService/SetRetentionBounds", admin],
  ["frostline.v1.RetentionService/EraseShare", admin],
  ["frostline.v1.RetentionService/ErasePerson", admin],
  ["frostline.v1.RetentionService/EraseTenant", platformAdmin],
  ["frostline.v1.RetentionService/ListErasures", admin],
  ["frostline.v1.JobService/ListJobs", platformAdmin],
  ["frostline.v1.JobService/RunJob", platformAdmin],
  ["frostline.v1.WebhookService/CreateWebhook", admin],
  ["frostline.v1.WebhookService/ListWebhooks", admin],
  ["frostline.v1.WebhookService/UpdateWebhook", admin],
  ["frostline.v1.WebhookService/DeleteWebhook", admin],
  ["frostline.v1.WebhookService/RotateWebhookSecret", admin],
  ["frostline.v1.WebhookService/SendTestEvent", operator],
  ["frostline.v1.WebhookService/ListDeliveries", operator],
  ["frostline.v1.WebhookService/RetryDelivery", operator],
  ["frostline.v1.DataKeyService/GetDataKey", admin],
  ["frostline.v1.DataKeyService/RotateDataKey", admin],
  ["frostline.v1.DataKeyService/RewrapDataKeys", platformAdmin],
  ["frostline.v1.FileService/ListFiles", reader],
  ["frostline.v1.FileService/GetFile", reader],
  ["frostline.v1.FileService/StreamSnapshot", reader],
  ["frostline.v1.FileService/StreamDiff", reader],
  ["grpc.health.v1.Health/Check", anyone],
  ["grpc.health.v1.Health/Watch", anyone],
  ["grpc.reflection.v1.ServerReflection/ServerReflectionInfo", anyone],
]);
