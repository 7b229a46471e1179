import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { RpcError } from "../src/agent/rpc-error.js";
import { ScanService, ScanStatus } from "../src/gen/frostline/v1/scan_pb.js";
import { type CommandOptions, type CommandResult, frostline, jsonLines } from "./support/command.js";
import { createEmptyDatabase } from "./support/postgres.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant, type Scope } from "./support/tenant.js";

interface ScanJson {
  scanId: string;
  status: string;
  counts: { files: string; refused: string; added: string };
}
interface FileJson {
  path: string;
  sizeBytes: string;
}

let server: TestServer;
let scratch: Scratch;

beforeAll(async () => {
  scratch = await scratchDirectory();
  server = await startTestServer();
});
afterAll(async () => {
  await server?.close();
  await scratch?.remove();
});

/** Runs a command with a key of the tenant, one scope only. */
function as(scope: Scope, args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  return frostline(args, { ...options, env: { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: server.keys[scope], ...options.env } });
}

/** A directory of the given files with the given contents. */
async function tree(name: string, files: Record<string, string>): Promise<string> {
  const root = path.join(scratch.path, name);
  await fs.mkdir(root);
  for (const [file, content] of Object.entries(files)) {
    await fs.mkdir(path.dirname(path.join(root, file)), { recursive: true });
    await fs.writeFile(path.join(root, file), content);
  }
  return root;
}

test("wrong usage is status 2, and says what is wrong on stderr only", async () => {
  const cases: [string[], string][] = [
    [[], "Usage: frostline"],
    [["nonsense"], "unknown command 'nonsense'"],
    [["ls"], "--share"],
    [["snapshot", "0"], "frostline scans --share NAME"],
    [["ls", "--share", "x", "--min-size", "constructor"], "10MiB"],
    [["scan", path.join(scratch.path, "absent"), "--share", "x"], "absent cannot be scanned"],
    [["scan", import.meta.filename, "--share", "x"], "is not a directory"],
    [["ls", "--share", "x", "--data", path.join(scratch.path, "none")], "No key for 127.0.0.1:50051"],
    [["migrate"], "Set DATABASE_URL"],
    [["bootstrap"], "Set DATABASE_URL"],
    [["key", "create", "x", "--scope", "constructor"], "agent, operator, reader, admin"],
  ];
  await Promise.all(
    cases.map(async ([args, words]) => {
      const { status, stdout, stderr } = await frostline(args);
      expect({ args, status, stdout }).toEqual({ args, status: 2, stdout: "" });
      expect(stderr).toContain(words);
      expect(stderr).not.toContain("    at ");
    }),
  );
  expect((await frostline(["--help"])).status).toBe(0);
});

test("failure is status 1: no server, a wrong key, a missing scope, an unknown share", async () => {
  const gone = await frostline(["ls", "--share", "x", "--server", "127.0.0.1:1", "--key", "fl_x"]);
  expect(gone).toMatchObject({ status: 1, stdout: "" });
  expect(gone.stderr).toContain("frostline serve");
  const refused = await frostline(["ls", "--share", "x", "--server", server.address, "--key", "fl_x"]);
  expect(refused).toMatchObject({ status: 1, stdout: "" });
  expect(refused.stderr).toContain("FROSTLINE_KEY");
  const scope = await as("agent", ["ls", "--share", "x"]);
  expect(scope.status).toBe(1);
  expect(scope.stderr).toContain("reader");
  const unknown = await as("reader", ["ls", "--share", "absent", "--json"]);
  expect(unknown).toMatchObject({ status: 1, stdout: "" });
  expect(unknown.stderr).toContain("absent");
  expect(unknown.stderr).not.toContain("    at ");
  expect((await as("reader", ["ls", "--share", "absent", "--verbose"])).stderr).toContain("    at ");
});

test("a scan makes its share, and what it found is read back, as JSON and as tables", async () => {
  const root = await tree("simple", { "a.txt": "four", "sub/b.TXT": "sevenup", "sub/deep/c\x1b[2J\x9b.bin": "", ".frostline/own": "x" });
  const scan = await as("agent", ["scan", root, "--share", "simple", "--json"]);
  expect(scan.status, scan.stderr).toBe(0);
  const [first] = jsonLines<ScanJson>(scan.stdout);
  expect(first).toMatchObject({ status: "SCAN_STATUS_OK", counts: { files: "3", added: "3" } });

  const ls = await as("reader", ["ls", "--share", "simple", "--json"]);
  const found = jsonLines<FileJson>(ls.stdout).map((file) => [file.path, file.sizeBytes]);
  expect(found.sort()).toEqual([
    ["/a.txt", "4"],
    ["/sub/b.TXT", "7"],
    ["/sub/deep/c\x1b[2J\x9b.bin", "0"],
  ]);
  const words = await as("reader", ["ls", "--share", "simple"]);
  expect(words.stdout).toContain("/sub/deep/c\\x1b[2J\\x9b.bin\n");
  expect(words.stdout.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  const filtered = await as("reader", ["ls", "--share", "simple", "--dir", "/sub", "--ext", ".TXT", "--min-size", "7", "--json"]);
  expect(jsonLines<FileJson>(filtered.stdout).map((file) => file.path)).toEqual(["/sub/b.TXT"]);
  expect(jsonLines((await as("reader", ["ls", "--share", "simple", "--limit", "2", "--json"])).stdout)).toHaveLength(2);
  const one = await as("reader", ["file", "/a.txt", "--share", "simple", "--json"]);
  expect(jsonLines<FileJson>(one.stdout)).toMatchObject([{ path: "/a.txt", sizeBytes: "4" }]);

  await fs.appendFile(path.join(root, "a.txt"), "!");
  await fs.unlink(path.join(root, "sub/b.TXT"));
  const again = jsonLines<ScanJson>((await as("agent", ["scan", root, "--share", "simple", "--json"])).stdout)[0] as ScanJson;
  const diff = await as("reader", ["diff", (first as ScanJson).scanId, again.scanId, "--json"]);
  const changes = jsonLines<{ change: string; file: FileJson }>(diff.stdout).map(({ change, file }) => [change, file.path]);
  expect(changes.sort()).toEqual([
    ["FILE_CHANGE_CHANGED", "/a.txt"],
    ["FILE_CHANGE_REMOVED", "/sub/b.TXT"],
  ]);
  const before = await as("reader", ["snapshot", (first as ScanJson).scanId, "--json"]);
  expect(jsonLines<FileJson>(before.stdout).map((file) => file.path)).toContain("/sub/b.TXT");
  const scans = await as("reader", ["scans", "--share", "simple", "--json"]);
  expect(jsonLines<ScanJson>(scans.stdout).map((scan) => scan.scanId)).toEqual([again.scanId, (first as ScanJson).scanId]);
  const wrongType = await as("agent", ["scan", root, "--share", "simple", "--type", "SMB"]);
  expect(wrongType).toMatchObject({ status: 2, stdout: "" });
  expect(wrongType.stderr).toContain("LucidLink");
});

test.skipIf(process.platform !== "linux")("a name that cannot be stored makes a warning: status 3, and `problems` lists it", async () => {
  const root = await tree("warn", { good: "1" });
  await fs.writeFile(Buffer.concat([Buffer.from(`${root}/bad`), Buffer.from([0xff, 0xfe])]), "2");
  const scan = await as("agent", ["scan", root, "--share", "warn", "--json"]);
  expect(scan.status, scan.stderr).toBe(3);
  const [result] = jsonLines<ScanJson>(scan.stdout);
  expect(result).toMatchObject({ status: "SCAN_STATUS_WARN", counts: { files: "1", refused: "1" } });
  expect(scan.stderr).toContain(`frostline problems ${result?.scanId}`);
  const problems = await as("reader", ["problems", result?.scanId as string, "--json"]);
  expect(jsonLines(problems.stdout)).toMatchObject([{ dirPath: "/", name: "bad\\xff\\xfe" }]);
  expect((await as("reader", ["problems", result?.scanId as string])).stdout).toContain("refused  /bad\\xff\\xfe: ");
});

test("a reader that leaves early ends the list quietly", async () => {
  const names = Array.from({ length: 3000 }, (_, i) => [`${String(i).padStart(200, "x")}`, ""]);
  const root = await tree("many", Object.fromEntries(names));
  expect((await as("agent", ["scan", root, "--share", "many"])).status).toBe(0);
  const { status, stderr } = await as("reader", ["ls", "--share", "many", "--json"], {
    started: (child) => child.stdout?.once("data", () => child.stdout?.destroy()),
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});

test.skipIf(process.platform === "win32")("Ctrl-C stops a scan cleanly, and the same command resumes it", async () => {
  const files = Array.from({ length: 40 }, (_, i) => [`d${i}/f`, String(i)]);
  const root = await tree("interrupted", Object.fromEntries(files));
  const reader = createClient({ server: server.address, key: server.keys.reader });
  const slow = as("agent", ["scan", root, "--share", "interrupted", "--max-files-per-second", "1", "--json"], {
    started: (child) => {
      void untilRunning(reader, "interrupted").then(() => child.kill("SIGINT"));
    },
  });
  const stopped = await slow;
  const [running] = (await reader.unary(ScanService.method.listScans, { shareName: "interrupted" })).scans;
  reader.close();
  expect(stopped).toMatchObject({ status: 1, stdout: "" });
  expect(stopped.stderr).toContain("run the same command again");
  expect(running?.status).toBe(ScanStatus.RUNNING);
  const resumed = await as("agent", ["scan", root, "--share", "interrupted", "--json"]);
  expect(resumed.status, resumed.stderr).toBe(0);
  expect(jsonLines<ScanJson>(resumed.stdout)).toMatchObject([{ scanId: String(running?.scanId), counts: { files: "40" } }]);
});

/** Resolves once the share is there and has a RUNNING scan; asks again after each answer. */
async function untilRunning(client: ReturnType<typeof createClient>, shareName: string): Promise<void> {
  for (;;) {
    const { scans } = await client.unary(ScanService.method.listScans, { shareName }).catch((error: unknown) => {
      if (error instanceof RpcError && error.code === "NOT_FOUND") return { scans: [] };
      throw error;
    });
    if (scans.some((scan) => scan.status === ScanStatus.RUNNING)) return;
  }
}

test("the brake stops a scan that would mark most files missing, until it is confirmed", async () => {
  const root = await tree("brake", Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`f${i}`, ""])));
  expect((await as("agent", ["scan", root, "--share", "brake"])).status).toBe(0);
  for (let i = 1; i < 200; i += 1) await fs.unlink(path.join(root, `f${i}`));
  const stopped = await as("agent", ["scan", root, "--share", "brake", "--json"]);
  expect(stopped).toMatchObject({ status: 1, stdout: "" });
  const scanId = /frostline confirm (\d+)/.exec(stopped.stderr)?.[1] as string;
  expect(jsonLines((await as("operator", ["confirm", scanId, "--json"])).stdout)).toMatchObject([{ scanId }]);
  const resumed = await as("agent", ["scan", root, "--share", "brake", "--json"]);
  expect(resumed.status, resumed.stderr).toBe(0);
  expect(jsonLines(resumed.stdout)).toMatchObject([{ scanId, counts: { removed: "199" } }]);
  expect((await as("agent", ["abort", scanId])).status).toBe(1);
});

test("a partial scan leaves alone what it does not list; a full one does not", async () => {
  const whole = await tree("whole", { a: "1", b: "2", "sub/c": "3" });
  const removedBy = async (...args: string[]) => {
    const { status, stdout, stderr } = await as("agent", ["scan", ...args, "--share", "partial", "--json"]);
    expect(status, stderr).toBe(0);
    return jsonLines<{ counts: { removed: string } }>(stdout)[0]?.counts.removed;
  };
  expect(await removedBy(whole)).toBe("0");
  expect(await removedBy(whole, "--exclude", "sub", "--partial")).toBe("0");
  expect(await removedBy(whole, "--exclude", "sub")).toBe("1");
});

test("a CSV enters by the same way; a bad row is a warning", async () => {
  const good = path.join(scratch.path, "good.csv");
  await fs.writeFile(
    good,
    "path,size_bytes,atime_unix,mtime_unix,ctime_unix\n/Shows/Élan — 東京.mov,99,1780000005,1780000004,1780000003\n/a,1,2,3,4\n",
  );
  const imported = await as("agent", ["import", good, "--share", "csv", "--type", "LucidLink", "--full", "--json"]);
  expect(imported.status, imported.stderr).toBe(0);
  expect(jsonLines<ScanJson>(imported.stdout)).toMatchObject([{ status: "SCAN_STATUS_OK", counts: { files: "2" } }]);
  const bad = path.join(scratch.path, "bad.csv");
  await fs.writeFile(bad, "path,size_bytes,atime_unix,mtime_unix,ctime_unix\n/b,many,2,3,4\n/c,1,2,3,4\n");
  const warned = await as("agent", ["import", bad, "--share", "csv", "--json"]);
  expect(warned.status, warned.stderr).toBe(3);
  const { stdout } = await as("reader", ["ls", "--share", "csv", "--json"]);
  const paths = jsonLines<FileJson>(stdout).map((file) => file.path);
  expect(paths.sort()).toEqual(["/Shows/Élan — 東京.mov", "/a", "/c"]);
  const absent = await as("agent", ["import", path.join(scratch.path, "absent.csv"), "--share", "csv"]);
  expect(absent).toMatchObject({ status: 2, stdout: "" });
});

test("shares, tenants and keys: made, listed, revoked", async () => {
  const platform = await createTestTenant(server.database, { isPlatform: true });
  const admin = (args: string[]) => frostline([...args, "--server", server.address, "--key", platform.keys.admin, "--json"]);
  const made = jsonLines<{ tenant: { code: string }; adminKey: string }>(
    (await admin(["tenant", "create", "acme", "--name", "Acme"])).stdout,
  )[0];
  expect(made?.tenant).toMatchObject({ code: "acme", name: "Acme" });
  const tenants = jsonLines<{ code: string }>((await admin(["tenant", "list"])).stdout);
  expect(tenants.map((tenant) => tenant.code)).toContain("acme");

  const env = { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: made?.adminKey ?? "" };
  const created = await frostline(["key", "create", "nas", "--scope", "reader,operator", "--expires", "90d", "--json"], { env });
  const key = jsonLines<{ secret: string; key: { keyId: string; scopes: string[] } }>(created.stdout)[0];
  expect(key?.key.scopes).toEqual(["KEY_SCOPE_READER", "KEY_SCOPE_OPERATOR"]);
  const own = { ...env, FROSTLINE_KEY: key?.secret ?? "" };
  const share = await frostline(["share", "create", "media", "--type", "SMB", "--brake-percent", "10", "--json"], { env: own });
  expect(jsonLines(share.stdout)).toMatchObject([
    { shareName: "media", sourceType: "SOURCE_TYPE_SMB", caseSensitive: false, brakePercent: 10 },
  ]);
  expect((await frostline(["share", "create", "media"], { env: own })).status).toBe(1);
  expect((await frostline(["share", "list"], { env: own })).stdout).toMatch(/^SHARE .*\nmedia +SMB +ignored +10 % /);
  expect((await frostline(["key", "list"], { env })).stdout).toMatch(/reader,operator .* nas\n/);
  expect((await frostline(["key", "revoke", key?.key.keyId ?? "", "--json"], { env })).status).toBe(0);
  expect((await frostline(["share", "list"], { env: own })).status).toBe(1);
});

test("a database of one's own: migrate, bootstrap once, then its key works", async () => {
  const database = await createEmptyDatabase();
  try {
    const first = await frostline(["migrate", "--url", database.ownerUrl, "--json"]);
    expect(first.status, first.stderr).toBe(0);
    expect(jsonLines<{ migrations: string[] }>(first.stdout)[0]?.migrations[0]).toBe("0001_schema");
    expect(jsonLines((await frostline(["migrate", "--superuser-url", database.superuserUrl, "--json"])).stdout)).toEqual([
      { migrations: [] },
    ]);
    const env = { DATABASE_URL: database.runtimeUrl };
    const made = await frostline(["bootstrap", "--json"], { env });
    const { adminKey } = jsonLines<{ adminKey: string }>(made.stdout)[0] as { adminKey: string };
    expect(await frostline(["bootstrap"], { env })).toMatchObject({ status: 1, stdout: "" });
    const second = await startTestServer({ database });
    try {
      const list = await frostline(["tenant", "list", "--json", "--server", second.address, "--key", adminKey]);
      expect(jsonLines(list.stdout)).toMatchObject([{ code: "platform" }, {}]);
    } finally {
      await second.close();
    }
  } finally {
    await database.drop();
  }
});
