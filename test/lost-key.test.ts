/** docs/troubleshooting.md: what its page tells to run when the last admin key is lost. */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { packageRoot } from "../src/db/embedded.js";
import { TenantService } from "../src/gen/frostline/v1/tenant_pb.js";
import { missingPostgresClients } from "./support/backups.js";
import { rememberSecret } from "./support/secrets.js";
import { startTestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";

const section = /^## The last admin key is lost\n([\s\S]*?)^## /m.exec(
  fs.readFileSync(path.join(packageRoot, "docs/troubleshooting.md"), "utf8"),
)?.[1];
const script = /```sh\n([\s\S]*?)```/.exec(section ?? "")?.[1] ?? "exit 9";

test.skipIf(missingPostgresClients())("the owner makes an admin key of that tenant, and of no other", async () => {
  const server = await startTestServer();
  await createTestTenant(server.database, { isPlatform: true });
  const own = script
    .replace("postgres://frostline_owner@host/frostline", server.database.ownerUrl)
    .replace("code=platform", `code=${server.code}`);
  const key = execFileSync("bash", ["-c", own], { encoding: "utf8" }).trim().split("\n").at(-1) as string;
  rememberSecret("the new key", key);
  const client = createClient({ server: server.address, key });
  const { keys } = await client.unary(TenantService.method.listKeys, {}).finally(client.close);
  expect(keys.map(({ name }) => name).sort()).toEqual(["recovered", "test admin", "test agent", "test operator", "test reader"]);
  await server.close();
});
