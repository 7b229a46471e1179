/** Every service of the server. */
import type { ConnectRouter } from "@connectrpc/connect";
import { DirIds } from "../db/id-blocks.js";
import { Turns } from "../fairness/turns.js";
import { AuditService } from "../gen/frostline/v1/audit_pb.js";
import { DataKeyService } from "../gen/frostline/v1/data_key_pb.js";
import { FileService } from "../gen/frostline/v1/file_pb.js";
import { JobService } from "../gen/frostline/v1/job_pb.js";
import { PlannerService } from "../gen/frostline/v1/planner_pb.js";
import { RetentionService } from "../gen/frostline/v1/retention_pb.js";
import { RuleService } from "../gen/frostline/v1/rule_pb.js";
import { ScanService } from "../gen/frostline/v1/scan_pb.js";
import { ShareService } from "../gen/frostline/v1/share_pb.js";
import { TenantService } from "../gen/frostline/v1/tenant_pb.js";
import { TierService } from "../gen/frostline/v1/tier_pb.js";
import { WarmingService } from "../gen/frostline/v1/warming_pb.js";
import { WebhookService } from "../gen/frostline/v1/webhook_pb.js";
import { Health } from "../gen/grpc/health/v1/health_pb.js";
import { ServerReflection } from "../gen/grpc/reflection/v1/reflection_pb.js";
import { DirectoryCache } from "../ingest/audit/directory-cache.js";
import { ShareTurns } from "../ingest/audit/share-turns.js";
import { MeteredConnections } from "../metrics/metered-connections.js";
import { stillMatches } from "../planner/still-matches.js";
import { auditService } from "./audit.js";
import type { ServerDeps } from "./context.js";
import { dataKeyService } from "./data-key.js";
import { fileService } from "./file.js";
import { healthService } from "./health.js";
import { jobService } from "./job.js";
import { plannerService } from "./planner.js";
import { AuditServiceView, ScanServiceView } from "./push-view.js";
import { reflectionService } from "./reflection.js";
import { retentionService } from "./retention.js";
import { ruleService } from "./rule.js";
import { scanService } from "./scan.js";
import { shareService } from "./share.js";
import { tenantService } from "./tenant.js";
import { tierService } from "./tier.js";
import { warmingService } from "./warming.js";
import { webhookService } from "./webhook.js";

export const services = [
  TenantService,
  ShareService,
  ScanService,
  AuditService,
  FileService,
  RuleService,
  PlannerService,
  TierService,
  RetentionService,
  WarmingService,
  WebhookService,
  DataKeyService,
  JobService,
  Health,
  ServerReflection,
] as const;

export function registerServices(router: ConnectRouter, deps: ServerDeps): void {
  router.service(TenantService, tenantService(deps));
  router.service(ShareService, shareService(deps));
  const { pool, ingestPools, config, metrics, drainSignal } = deps;
  // Scans and audit events share the connections that merge: so many work at once, whichever they are.
  const connections = new MeteredConnections(ingestPools, config.ingestPoolMax, metrics);
  const tenantTurns = new Turns(deps.openCalls);
  const ingest = {
    pool,
    connections,
    dirIds: new DirIds(),
    tenantTurns,
    openStreams: { count: 0 },
    observer: metrics.ingest,
    drainSignal,
  };
  router.service(ScanServiceView, scanService(deps, ingest));
  router.service(
    AuditServiceView,
    auditService(deps, {
      ...ingest,
      directories: new DirectoryCache(),
      turns: new ShareTurns(),
      prefetchIsAccess: config.prefetchIsAccess,
    }),
  );
  router.service(FileService, fileService(deps, tenantTurns));
  router.service(RuleService, ruleService(deps));
  router.service(PlannerService, plannerService(deps));
  router.service(TierService, tierService(deps, stillMatches));
  router.service(WarmingService, warmingService(deps));
  router.service(RetentionService, retentionService(deps));
  router.service(WebhookService, webhookService(deps));
  router.service(DataKeyService, dataKeyService(deps));
  router.service(JobService, jobService(deps));
  router.service(Health, healthService(deps, services));
  router.service(ServerReflection, reflectionService(services, drainSignal));
}
