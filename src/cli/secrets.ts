/** `secrets`: what stored secrets are encrypted with, and how its keys are changed. */
import { create } from "@bufbuild/protobuf";
import type { Command } from "commander";
import {
  type DataKey,
  DataKeySchema,
  DataKeyService,
  RewrapDataKeysResponseSchema,
  RotateDataKeyResponseSchema,
} from "../gen/frostline/v1/data_key_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { count } from "./format.js";

export function addSecrets(program: Command): void {
  const secrets = program
    .command("secrets")
    .description("how stored secrets are encrypted: the tenant's data key, and the master key that wraps it; needs an admin key");
  secrets
    .command("status", { isDefault: true })
    .description(
      "its number and the master key that wraps it (the default); exit status 3 when a newer master key is there, or a rotation broke off",
    )
    .action(
      action(async ({ global, output }) => {
        const response = await withClient(global, "admin", (client) => client.unary(DataKeyService.method.getDataKey, {}));
        const key = response.dataKey as DataKey;
        if (output.json) await output.printMessages(DataKeySchema, [key]);
        else await output.print(dataKeyLines(key));
        return key.rotating || (key.number > 0 && key.masterKey !== key.newestMasterKey) ? 3 : 0;
      }),
    );
  secrets
    .command("rotate")
    .description("make a new data key for the caller's tenant and encrypt its secrets under it; goes on where one broke off")
    .action(
      action(async ({ global, output }) => {
        const response = await withClient(global, "admin", (client) => client.unary(DataKeyService.method.rotateDataKey, {}));
        if (output.json) await output.printMessages(RotateDataKeyResponseSchema, [response]);
        else
          await output.print([
            ...dataKeyLines(response.dataKey as DataKey),
            `${count(response.secretsResealed)} secrets are encrypted under it.`,
          ]);
        return 0;
      }),
    );
  secrets
    .command("rewrap")
    .description("wrap the data keys of all tenants with the newest master key; needs an admin key of the platform tenant")
    .action(
      action(async ({ global, output }) => {
        const total = { tenantsRewrapped: 0n, tenantsUpToDate: 0n, tenantsLeft: 0n, tenantsFailed: [] as string[] };
        await withClient(global, "admin", async (client) => {
          let left = 1n;
          while (left > 0n) {
            const done = await client.unary(DataKeyService.method.rewrapDataKeys, {});
            left = done.tenantsLeft;
            total.tenantsRewrapped += done.tenantsRewrapped;
            // Each call begins with the first tenant: what calls before have wrapped is up to date for it.
            total.tenantsUpToDate = done.tenantsUpToDate + done.tenantsRewrapped - total.tenantsRewrapped;
            total.tenantsFailed = done.tenantsFailed;
          }
        });
        if (output.json) await output.printMessages(RewrapDataKeysResponseSchema, [create(RewrapDataKeysResponseSchema, total)]);
        else {
          const { tenantsRewrapped, tenantsUpToDate, tenantsFailed } = total;
          const failed = tenantsFailed.map((code) => `${code}: its data key is wrapped with a master key that is not in the file.`);
          await output.print([
            `${count(tenantsRewrapped)} tenants' keys wrapped anew, ${count(tenantsUpToDate)} were up to date.`,
            ...failed,
          ]);
        }
        return total.tenantsFailed.length === 0 ? 0 : 3;
      }),
    );
}

function dataKeyLines({ number, masterKey, newestMasterKey, rotating }: DataKey): string[] {
  if (number === 0) return [`No secret is stored yet, and there is no data key. The newest master key is ${newestMasterKey}.`];
  const newest = masterKey === newestMasterKey ? "" : ` The newest is ${newestMasterKey}: \`frostline secrets rewrap\` goes over to it.`;
  const rotation = rotating ? " A rotation broke off: `frostline secrets rotate` ends it." : "";
  return [`Data key number ${number}, wrapped with master key ${masterKey}.${newest}${rotation}`];
}
