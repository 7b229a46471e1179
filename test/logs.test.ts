/** What a server logs of calls: found by one id, and without paths. */
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { loadConfig } from "../src/config.js";
import { ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { createLogger } from "../src/log.js";
import { type RunningServer, startServer } from "../src/server/start.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { chunk, file, listing } from "./support/streams.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

type Line = Record<string, unknown>;

let database: TestDatabase;
let tenant: TestTenant;
let server: RunningServer;
let channel: grpc.Client;
let lines: Line[];
beforeAll(async () => {
  database = await createTestDatabase();
  tenant = await createTestTenant(database);
  ({ server, lines } = await start({ FROSTLINE_HTTP_LISTEN: "127.0.0.1:0" }));
  channel = new grpc.Client(server.address, grpc.credentials.createInsecure());
});
afterAll(async () => {
  channel?.close();
  await server?.close();
  await database?.drop();
});

async function start(env: Record<string, string> = {}): Promise<{ server: RunningServer; lines: Line[] }> {
  const found: Line[] = [];
  const config = loadConfig({ DATABASE_URL: database.runtimeUrl, FROSTLINE_LISTEN: "127.0.0.1:0", ...env });
  const destination = { write: (line: string) => void found.push(JSON.parse(line)) };
  return { server: await startServer({ config, log: createLogger("debug", { values: config.logPaths, destination }) }), lines: found };
}

/** Answers with the request id that came back, and where. */
function call(
  path: string,
  requestId: string | undefined,
  key = tenant.keys.reader,
): Promise<{ header: string; trailer: string; code: number }> {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${key}`);
  if (requestId !== undefined) metadata.set("x-request-id", requestId);
  const bytes = (message: Buffer) => message;
  return new Promise((resolve) => {
    let header = "";
    const unary = channel.makeUnaryRequest(path, bytes, bytes, Buffer.alloc(0), metadata, () => {});
    unary.on("metadata", (received: grpc.Metadata) => {
      header = String(received.get("x-request-id")[0] ?? "");
    });
    unary.on("status", ({ code, metadata: trailers }) => resolve({ header, trailer: String(trailers.get("x-request-id")[0] ?? ""), code }));
  });
}

const list = "/frostline.v1.ShareService/ListShares";
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

test("a call's id is its caller's, or a new one where that is none, and comes back with the answer or the error", async () => {
  expect(await call(list, "job-7:part.2_a")).toMatchObject({ code: 0, header: "job-7:part.2_a" });
  expect(await call("/frostline.v1.ShareService/GetShare", "asked-1")).toMatchObject({
    code: grpc.status.INVALID_ARGUMENT,
    trailer: "asked-1",
  });
  expect(await call(list, "refused-1", "fl_wrong")).toMatchObject({ code: grpc.status.UNAUTHENTICATED, trailer: "refused-1" });
  for (const bad of [undefined, "", "with space", "x".repeat(129), '{"level":60}', "-dash"]) {
    const { header } = await call(list, bad);
    expect(header, bad).toMatch(uuid);
    expect(lines.filter(({ requestId }) => requestId === header)).toHaveLength(1);
  }
  const fromPage = await fetch(`${server.httpUrl}${list}`, {
    method: "POST",
    body: "{}",
    headers: { "content-type": "application/json", authorization: `Bearer ${tenant.keys.reader}`, "x-request-id": "page-1" },
  });
  expect(fromPage.headers.get("x-request-id")).toBe("page-1");
});

test("who was refused has one line at info, and it has no key", () => {
  const own = lines.filter(({ requestId, level }) => requestId === "refused-1" && Number(level) >= 30);
  expect(own).toMatchObject([{ msg: "a call was refused", reason: "KEY_INVALID" }]);
  expect(JSON.stringify(lines)).not.toContain("fl_wrong");
});

async function scan(at: RunningServer, shareName: string, directory: string, name: string): Promise<void> {
  const client = createClient({ server: at.address, key: tenant.keys.admin });
  try {
    await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK });
    const { scan: started } = await client.unary(ScanService.method.startScan, { shareName, mode: ScanMode.FULL });
    const scanId = started?.scanId as bigint;
    const stream = client.clientStream(ScanService.method.pushScan);
    await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
    await stream.send({ message: { case: "chunk", value: chunk(0, [listing(directory, [file(name)])]) } });
    await stream.finish();
    await client.unary(ScanService.method.finishScan, { scanId, chunks: { main: 1n } });
  } finally {
    client.close();
  }
}

test("a stream is a line at info, its segments lines at debug under the same id, the end of a scan a line with its figures", async () => {
  lines.length = 0;
  await scan(server, "films", "/quiet-place", "quiet-file");
  const [push] = lines.filter(({ method }) => method === "frostline.v1.ScanService/PushScan");
  expect(push).toMatchObject({
    level: 30,
    code: "OK",
    tenantId: tenant.tenantId,
    callerId: expect.any(String),
    durationMs: expect.any(Number),
  });
  expect(lines).toContainEqual(
    expect.objectContaining({ level: 20, msg: "a segment of a scan is committed", requestId: push?.requestId, files: 1, added: 1 }),
  );
  const [ended] = lines.filter(({ msg }) => msg === "a scan has ended");
  expect(ended).toMatchObject({ level: 30, share: "films", status: "OK", files: 1, added: 1, tenantId: tenant.tenantId });
  expect(JSON.stringify(lines)).not.toContain("quiet");
});

test("an error of PostgreSQL that tells values is logged without them, and with them when that is asked for", async () => {
  // Row-level security keeps PostgreSQL from telling rows of its own accord; data exceptions tell their value.
  await withClient(database.ownerUrl, (client) =>
    client.query(`
      CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        RAISE EXCEPTION USING ERRCODE = '22000', MESSAGE = format('bad name: "%s"', NEW.name), DETAIL = format('It is %s.', NEW.name);
      END $$;
      CREATE TRIGGER refuse_poison BEFORE INSERT ON file_current FOR EACH ROW WHEN (NEW.name = 'quiet-poison') EXECUTE FUNCTION refuse_poison()`),
  );
  lines.length = 0;
  await expect(scan(server, "poisoned", "/quiet-place", "quiet-poison")).rejects.toMatchObject({ code: "INTERNAL" });
  const [failed] = lines.filter(({ level }) => level === 50);
  expect(failed).toMatchObject({ err: { code: "22000", message: 'bad name: "..."' }, requestId: expect.stringMatching(uuid) });
  expect(JSON.stringify(lines)).not.toContain("quiet");

  const open = await start({ FROSTLINE_LOG_PATHS: "1" });
  await expect(scan(open.server, "poisoned again", "/quiet-place", "quiet-poison")).rejects.toMatchObject({ code: "INTERNAL" });
  const [told] = open.lines.filter(({ level }) => level === 50);
  expect(told).toMatchObject({ err: { message: 'bad name: "quiet-poison"', detail: "It is quiet-poison." } });
  await open.server.close();
});
