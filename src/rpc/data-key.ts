/** frostline.v1.DataKeyService */
import type { ServiceImpl } from "@connectrpc/connect";
import type { DataKeyService } from "../gen/frostline/v1/data_key_pb.js";
import { readKeyState, rewrapDataKeys, rotateDataKey, type SecretStore } from "../secrets/rotate.js";
import { webhookSecrets } from "../webhooks/sealed-secrets.js";
import { caller, type ServerDeps } from "./context.js";

/** So long a call wraps keys anew before it tells how many are left. */
const rewrapMs = 20_000;

/** Everything that is stored sealed. A new kind of secret has to be here, or rotating leaves it behind. */
const stores: readonly SecretStore[] = [webhookSecrets];

export function dataKeyService({ pool, webhooks: { keys }, drainSignal }: ServerDeps): ServiceImpl<typeof DataKeyService> {
  const dataKey = async (tenantId: string) => {
    const { no, ref, rotating, newestRef } = await readKeyState(pool, keys, tenantId);
    return { number: no, masterKey: ref, newestMasterKey: newestRef, rotating };
  };
  return {
    async getDataKey(_, context) {
      return { dataKey: await dataKey(caller(context).tenantId) };
    },
    async rotateDataKey(_, context) {
      const { tenantId } = caller(context);
      const secretsResealed = BigInt(await rotateDataKey(pool, keys, stores, tenantId));
      return { dataKey: await dataKey(tenantId), secretsResealed };
    },
    async rewrapDataKeys(_, context) {
      const signal = AbortSignal.any([drainSignal, context.signal, AbortSignal.timeout(rewrapMs)]);
      const { rewrapped, newest, left, failed } = await rewrapDataKeys(pool, keys, signal);
      return {
        tenantsRewrapped: BigInt(rewrapped),
        tenantsUpToDate: BigInt(newest),
        tenantsLeft: BigInt(left),
        tenantsFailed: failed,
      };
    },
  };
}
