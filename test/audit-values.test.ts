/** Events whose texts no index or column takes: each is refused or kept as far as it can be, and the stream goes on. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient } from "../src/agent/client.js";
import { AuditAction, AuditEventSchema, AuditService } from "../src/gen/frostline/v1/audit_pb.js";
import { type AuditedShare, createAuditedShare, liveFiles, violationsOf } from "./support/audited-share.js";
import { scanTree } from "./support/audited-trail.js";
import { startSeconds } from "./support/generated-trail.js";
import { withClient } from "./support/postgres.js";
import { startTestServer, type TestServer } from "./support/server.js";

let server: TestServer;
let share: AuditedShare;
let client: Client;
beforeAll(async () => {
  server = await startTestServer();
  share = await createAuditedShare(server, server);
  client = createClient({ server: server.address, key: server.keys.agent });
  const file = { sizeBytes: 1n, mtimeUnix: 1n, atimeUnix: 1n, ctimeUnix: 1n, frn: 1n };
  await scanTree(share, new Map([["/", new Map([["a", file]])]]), startSeconds);
});
afterAll(async () => {
  client?.close();
  await server?.close();
});

type Deed = MessageInitShape<typeof AuditEventSchema>;

let offset = 0n;
async function push(deeds: Deed[], file = "a.log", volumeId = "volume") {
  const events = deeds.map((deed) => {
    offset += 1n;
    return create(AuditEventSchema, { offset, timeMicros: (BigInt(startSeconds) + 100n + offset) * 1_000_000n, ...deed });
  });
  const stream = client.clientStream(AuditService.method.pushAudit);
  await stream.send({ message: { case: "open", value: { shareName: share.shareName, volumeId } } });
  const startOffset = file === "a.log" ? (events[0]?.offset ?? 0n) : 0n;
  const batch = {
    auditFilePath: file,
    headFingerprint: Buffer.from("head"),
    startOffset: file === "a.log" && startOffset > 1n ? startOffset : 0n,
  };
  await stream.send({ message: { case: "batch", value: { ...batch, endOffset: offset + 1n, events } } });
  return (await stream.finish()).counts;
}

test("names and paths that cannot be stored are refused one by one", async () => {
  const name = "日".repeat(341);
  const counts = await push([
    { action: AuditAction.CREATE_FILE, path: `/${name}` },
    { action: AuditAction.CREATE_FILE, path: `/${name}x` },
    { action: AuditAction.READ, path: `/${"n".repeat(3000)}` },
    { action: AuditAction.MOVE, path: "/a", targetPath: `/d/${"m".repeat(1021)}` },
    { action: AuditAction.CREATE_DIRECTORY, path: `${"/d".repeat(50_000)}` },
    { action: AuditAction.CREATE_FILE, path: `${"/d".repeat(1001)}/e` },
    { action: AuditAction.READ, path: "/a\0b" },
    { action: AuditAction.READ, path: "/a" },
  ]);
  // A name of 1,023 bytes is one too long, one of 1,020 is not.
  expect(counts).toMatchObject({ inserted: 0n, refused: 7n, applied: 1n });
  const longest = await push([{ action: AuditAction.CREATE_FILE, path: `/${"日".repeat(340)}` }]);
  expect(longest).toMatchObject({ inserted: 1n });
  expect([...(await liveFiles(share)).keys()].sort()).toEqual(["/a", `/${"日".repeat(340)}`]);
});

test("users and hosts are kept without NUL, and not without end", async () => {
  const counts = await push([{ action: AuditAction.READ, path: "/a", user: "a\0nn", host: "h".repeat(100_000) }]);
  expect(counts).toMatchObject({ applied: 1n });
  const { rows } = await withClient(server.database.superuserUrl, (superuser) =>
    superuser.query("SELECT actor, length(host) AS host FROM audit_log WHERE tenant_id = $1 ORDER BY recorded_utc DESC LIMIT 1", [
      server.tenantId,
    ]),
  );
  expect(rows).toEqual([{ actor: "a\uFFFDnn", host: 1000 }]);
  expect(await violationsOf(server.database)).toEqual([]);
});

test.each([
  ["audit_file_path with NUL", "a\0.log", "volume"],
  ["audit_file_path too long", "é".repeat(1001), "volume"],
  ["volume_id with NUL", "b.log", "v\0"],
  ["volume_id too long", "b.log", "v".repeat(101)],
])("%s is wrong usage, and says which field", async (what, file, volumeId) => {
  await expect(push([{ action: AuditAction.READ, path: "/a" }], file, volumeId)).rejects.toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining(what.split(" ")[0] as string),
  });
});
