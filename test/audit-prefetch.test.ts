/** Whether data fetched ahead counts as an access is a setting of the server. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { AuditAction, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { chunkOf, fileRecord, type IngestFixture, ingestFixture, listing } from "./support/ingest.js";
import { createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { startTestServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

let database: TestDatabase;
let tenant: TestTenant;
let fixture: IngestFixture;

beforeAll(async () => {
  database = await createTestDatabase();
  tenant = await createTestTenant(database);
  fixture = await ingestFixture(database, tenant.tenantId);
});
afterAll(async () => {
  await fixture.close();
  await database.drop();
});

test.each([
  ["by default, it does not", {}, { excluded: 1n, applied: 0n }, "5"],
  ["with FROSTLINE_PREFETCH_IS_ACCESS=1, it does", { FROSTLINE_PREFETCH_IS_ACCESS: "1" }, { excluded: 0n, applied: 1n }, "1780000000"],
])("%s", async (shareName, env, counted, atimeUnix) => {
  const shareId = await fixture.createShare(shareName);
  const { scanId } = await fixture.start(shareName);
  const file = { sizeBytes: 1n, mtimeUnix: 5n, atimeUnix: 5n, ctimeUnix: 5n, frn: undefined };
  await fixture.push(scanId, [chunkOf(0, [listing("/", [fileRecord("a", file)])])]);
  await fixture.finish(scanId, { main: 1n });

  const server = await startTestServer({ database, tenant, env });
  const client = createClient({ server: server.address, key: tenant.keys.agent });
  const call = client.clientStream(AuditService.method.pushAudit);
  await call.send({ message: { case: "open", value: { shareName, volumeId: shareName } } });
  const event = { offset: 0n, timeMicros: 1_780_000_000_000_000n, action: AuditAction.PREFETCH, path: "/a" };
  await call.send({ message: { case: "batch", value: { auditFilePath: "trail.log", startOffset: 0n, endOffset: 10n, events: [event] } } });
  const { counts } = await call.finish();
  client.close();
  await server.close();

  expect(counts).toMatchObject(counted);
  expect(await fixture.look("SELECT atime_unix FROM file_current WHERE share_id = $1", [shareId])).toEqual([{ atime_unix: atimeUnix }]);
});
