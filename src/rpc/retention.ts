/** frostline.v1.RetentionService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import { inTenant, readTenant } from "../db/tenant.js";
import { ErasureKind, type ErasureSchema, type RetentionPolicySchema, type RetentionService } from "../gen/frostline/v1/retention_pb.js";
import { readBounds, setBounds } from "../retention/bounds.js";
import { type Erasure, eraseNow, listErasures } from "../retention/erasures.js";
import { listJobs } from "../retention/jobs.js";
import { listPolicies, type Policy, setPolicy } from "../retention/policies.js";
import { requestPersonErasure, requestShareErasure, requestTenantErasure } from "../retention/request-erasure.js";
import { requireShare } from "../tenancy/shares.js";
import { caller, type ServerDeps } from "./context.js";
import { timestampField } from "./convert.js";

/** So long a call erases before it leaves the rest to the background jobs. */
const eraseMs = 20_000;

export function retentionService({ pool, drainSignal, log }: ServerDeps): ServiceImpl<typeof RetentionService> {
  const erased = async (context: HandlerContext, erasureId: bigint) => {
    const { tenantId } = caller(context);
    // What was asked for is recorded, and asking again would not find it: what goes wrong now is left to the background jobs.
    await eraseNow(pool, tenantId, AbortSignal.any([drainSignal, context.signal, AbortSignal.timeout(eraseMs)])).catch((error) => {
      log.warn({ err: error, erasureId: String(erasureId) }, "an erasure was interrupted; the background jobs go on with it");
    });
    const erasure = (await listErasures(pool, tenantId)).find((one) => one.erasureId === erasureId);
    return erasure === undefined ? {} : { erasure: toErasure(erasure) };
  };
  return {
    async getRetention(_, context) {
      const { tenantId } = caller(context);
      return readTenant(pool, tenantId, async (client) => ({
        policies: (await listPolicies(client, tenantId)).map(toPolicy),
        bounds: await readBounds(client, tenantId),
        jobs: (await listJobs(client, tenantId)).map(({ lastRunUtc, ...job }) => ({
          ...job,
          ...timestampField("lastRunTime", lastRunUtc),
        })),
      }));
    },
    async setRetentionPolicy({ policy }, context) {
      const { tenantId } = caller(context);
      const shareName = policy?.shareName ?? "";
      return inTenant(pool, tenantId, async (client) => {
        const share = shareName === "" ? undefined : await requireShare(client, tenantId, shareName);
        await setPolicy(client, tenantId, share?.share_id, { keepScans: policy?.keepScans, keepDays: policy?.keepDays });
        return { policies: (await listPolicies(client, tenantId)).map(toPolicy) };
      });
    },
    async setRetentionBounds({ bounds }, context) {
      const { tenantId } = caller(context);
      const { auditLogDays, ledgerDays, problemDays, warmingDays, missingDays } = bounds ?? {};
      const given = { auditLogDays, ledgerDays, problemDays, warmingDays, missingDays };
      return { bounds: await inTenant(pool, tenantId, (client) => setBounds(client, tenantId, given)) };
    },
    async eraseShare({ shareName, abandonTiered }, context) {
      return erased(context, await requestShareErasure(pool, caller(context), shareName, abandonTiered));
    },
    async erasePerson({ name }, context) {
      return erased(context, await requestPersonErasure(pool, caller(context), name));
    },
    async eraseTenant({ tenantId, code }, context) {
      return erased(context, await requestTenantErasure(pool, caller(context), tenantId, code));
    },
    async listErasures(_, context) {
      return { erasures: (await listErasures(pool, caller(context).tenantId)).map(toErasure) };
    },
  };
}

function toPolicy({ shareName, keepScans, keepDays }: Policy): MessageInitShape<typeof RetentionPolicySchema> {
  return {
    shareName: shareName ?? "",
    ...(keepScans === null ? {} : { keepScans }),
    ...(keepDays === null ? {} : { keepDays }),
  };
}

function toErasure(erasure: Erasure): MessageInitShape<typeof ErasureSchema> {
  return {
    erasureId: erasure.erasureId,
    kind: ErasureKind[erasure.kind],
    shareId: erasure.shareId ?? 0n,
    tenantId: erasure.erasedTenantId ?? "",
    requestedBy: erasure.requestedBy,
    rowsErased: erasure.rowsErased,
    ...timestampField("requestTime", erasure.requestedUtc),
    ...timestampField("finishTime", erasure.finishedUtc),
  };
}
