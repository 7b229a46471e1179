/** `key create`, `key list` and `key revoke`. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Command, InvalidArgumentError } from "commander";
import { type ApiKey, ApiKeySchema, CreateKeyResponseSchema, KeyScope, TenantService } from "../gen/frostline/v1/tenant_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { isoTimestamp, table } from "./format.js";

const scopeByName = new Map([
  ["agent", KeyScope.AGENT],
  ["operator", KeyScope.OPERATOR],
  ["reader", KeyScope.READER],
  ["admin", KeyScope.ADMIN],
]);

interface CreateOptions {
  scope: KeyScope[];
  expires?: Date;
}

export function addKey(program: Command): void {
  const key = program.command("key").description("create, list and revoke API keys of the caller's tenant; needs an admin key");
  addCreate(key);
  key
    .command("list")
    .description("list keys, without their secrets")
    .action(
      action(async ({ global, output }) => {
        const { keys } = await withClient(global, "admin", (client) => client.unary(TenantService.method.listKeys, {}));
        if (output.json) await output.printMessages(ApiKeySchema, keys);
        else await output.print(keyTable(keys));
        return 0;
      }),
    );
  key
    .command("revoke <key-id>")
    .description("revoke a key, from its next call on")
    .action(
      action(async ({ global, output }, _options: object, keyId: string) => {
        const response = await withClient(global, "admin", (client) => client.unary(TenantService.method.revokeKey, { keyId }));
        const revoked = response.key as ApiKey;
        if (output.json) await output.printMessages(ApiKeySchema, [revoked]);
        else await output.print(keyTable([revoked]));
        return 0;
      }),
    );
}

function addCreate(key: Command): void {
  key
    .command("create <name>")
    .description("create a key; its secret is shown once and never again")
    .requiredOption("--scope <scopes>", "what it may do: agent, operator, reader, admin; several with commas", parseScopes)
    .option("--expires <when>", "a date, a time in ISO 8601, or from now on such as 90d (default: never)", parseExpiry)
    .action(
      action(async ({ global, output }, options: CreateOptions, name: string) => {
        const expiry = options.expires === undefined ? {} : { expireTime: timestampFromMs(options.expires.getTime()) };
        const response = await withClient(global, "admin", (client) =>
          client.unary(TenantService.method.createKey, { name, scopes: options.scope, ...expiry }),
        );
        if (output.json) {
          await output.printMessages(CreateKeyResponseSchema, [response]);
          return 0;
        }
        await output.print([...keyTable([response.key as ApiKey]), "", `secret: ${response.secret}`]);
        output.note("Keep the secret now: it is not stored and cannot be shown again.");
        return 0;
      }),
    );
}

function parseScopes(text: string): KeyScope[] {
  return text.split(",").map((name) => {
    const scope = scopeByName.get(name.trim());
    if (scope === undefined) throw new InvalidArgumentError(`${JSON.stringify(name)} is none of ${[...scopeByName.keys()].join(", ")}.`);
    return scope;
  });
}

function parseExpiry(text: string): Date {
  const days = /^([1-9]\d{0,4})d$/.exec(text);
  const date = days ? new Date(Date.now() + Number(days[1]) * 86_400_000) : new Date(text);
  if (Number.isNaN(date.getTime()))
    throw new InvalidArgumentError("It must be a time such as 2027-01-31T12:00:00Z, or days from now such as 90d.");
  return date;
}

function keyTable(keys: ApiKey[]): string[] {
  const names = new Map([...scopeByName].map(([name, scope]) => [scope, name]));
  return table(
    [{ title: "KEY ID" }, { title: "SCOPES" }, { title: "CREATED" }, { title: "EXPIRES" }, { title: "REVOKED" }, { title: "NAME" }],
    keys.map((key) => [
      key.keyId,
      key.scopes.map((scope) => names.get(scope) ?? "?").join(","),
      isoTimestamp(key.createTime),
      isoTimestamp(key.expireTime),
      isoTimestamp(key.revokeTime),
      key.name,
    ]),
  );
}
