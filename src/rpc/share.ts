/** frostline.v1.ShareService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type ShareSchema, type ShareService, SourceType } from "../gen/frostline/v1/share_pb.js";
import type * as paths from "../paths.js";
import * as shares from "../tenancy/shares.js";
import { setStaleScanAlarm } from "../tenancy/stale-alarm.js";
import { invalidField } from "../tenancy/validate.js";
import { caller, type ServerDeps } from "./context.js";
import { timestampField } from "./convert.js";

const toSourceType: Record<paths.SourceType, SourceType> = {
  NTFS: SourceType.NTFS,
  SMB: SourceType.SMB,
  LucidLink: SourceType.LUCIDLINK,
};

export function shareService({ pool, webhooks }: ServerDeps): ServiceImpl<typeof ShareService> {
  return {
    async createShare(request, context) {
      const share = await shares.createShare(pool, caller(context).tenantId, {
        shareName: request.shareName,
        sourceType: fromSourceType(request.sourceType),
        volumeId: request.volumeId === "" ? undefined : request.volumeId,
        sourceRoot: request.sourceRoot,
        caseSensitive: request.caseSensitive,
        brakePercent: request.brakePercent,
      });
      return { share: toShare(share) };
    },
    async getShare({ shareName }, context) {
      return { share: toShare(await shares.getShare(pool, caller(context).tenantId, shareName)) };
    },
    async listShares(_, context) {
      return { shares: (await shares.listShares(pool, caller(context).tenantId)).map(toShare) };
    },
    async setStaleScanAlarm({ shareName, staleScanAlarmSeconds }, context) {
      const { tenantId } = caller(context);
      const share = await setStaleScanAlarm(pool, tenantId, shareName, staleScanAlarmSeconds);
      webhooks.dispatcher.notice(tenantId);
      return { share: toShare(share) };
    },
  };
}

function fromSourceType(type: SourceType): paths.SourceType {
  switch (type) {
    case SourceType.NTFS:
      return "NTFS";
    case SourceType.SMB:
      return "SMB";
    case SourceType.LUCIDLINK:
      return "LucidLink";
    default:
      throw invalidField("source_type", "must be NTFS, SMB or LUCIDLINK.");
  }
}

function toShare(share: shares.Share): MessageInitShape<typeof ShareSchema> {
  return {
    shareName: share.share_name,
    sourceType: toSourceType[share.src_type],
    volumeId: share.volume_id ?? "",
    sourceRoot: share.source_root,
    caseSensitive: share.case_sensitive,
    lastCompleteScanId: share.last_complete_scan_id ?? 0n,
    ...timestampField("lastCompleteTime", share.last_complete_utc),
    brakePercent: share.brake_percent,
    stormFilesPerMinute: share.storm_files_per_minute,
    staleScanAlarmSeconds: share.stale_scan_alarm_seconds ?? 0n,
    stale: share.stale,
  };
}
