/** The commands of audit trails as a user runs them, against a server in memory. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { type AuditServer, startAuditServer } from "./support/audit-server.js";
import { type CommandOptions, type CommandResult, frostline, jsonLines } from "./support/command.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";

const samples = new URL("samples/lucid-audit/", import.meta.url);
const rotated = "6f1d2c3e-0000-4000-8000-000000000a01/2026/09/2026-09-23T18.15.00Z.log";

interface AuditJson {
  shareName: string;
  counts: Record<string, string>;
  lagBytes: string;
  problems: object[];
}

let server: AuditServer;
let scratch: Scratch;
beforeEach(async () => {
  scratch = await scratchDirectory();
  server = await startAuditServer();
});
afterEach(async () => {
  server.stop();
  await scratch.remove();
});

function run(args: string[], options: CommandOptions = {}): Promise<CommandResult> {
  return frostline(args, { ...options, env: { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: "fl_x" } });
}

test("audit: once, into a share that it makes; warnings are status 3", async () => {
  const root = path.join(scratch.path, "filespace");
  await fs.cp(samples, path.join(root, ".lucid_audit"), { recursive: true });
  const { status, stdout, stderr } = await run(["audit", root, "--share", "s", "--json"]);
  expect(status).toBe(3);
  const [result, ...more] = jsonLines<AuditJson>(stdout);
  expect(more).toEqual([]);
  expect(result).toMatchObject({ shareName: "s", counts: { applied: "11", refused: "1" }, problems: [] });
  expect(stderr).toContain("Created the share s.");
  expect(stderr).toContain(`refused  ${rotated}, byte 1593: the line is not JSON`);
  expect(server.share).toEqual({ shareName: "s", sourceType: SourceType.LUCIDLINK, sourceRoot: root });

  const again = await run(["audit", root, "--share", "s"]);
  expect(again).toMatchObject({ status: 0, stdout: expect.stringMatching(/^0 lines; 2 files, .* 96 B behind\.\n$/), stderr: "" });
});

test("audit --follow: an object a round, until it is interrupted, and that is its regular end", async () => {
  const file = path.join(scratch.path, "n/a.log.active");
  const line = (n: number) => `{"timestamp":${n},"event":{"filespaceUuid":"v"},"operation":{"action":"FileRead","entryPath":"/${n}"}}\n`;
  await fs.mkdir(path.dirname(file));
  await fs.writeFile(file, line(1));
  server.onBatch = async () => {
    server.onBatch = () => {};
    await fs.appendFile(file, line(2));
  };
  const { status, stdout } = await run(["audit", scratch.path, "--share", "s", "--follow", "--poll-interval", "0.1", "--json"], {
    started: (child) =>
      child.stdout?.on("data", () => {
        if (server.taken.length === 2) child.kill("SIGINT");
      }),
  });
  expect(status).toBe(0);
  expect(jsonLines<AuditJson>(stdout).map(({ counts }) => counts.applied)).toEqual(["1", "1"]);
  expect(server.taken.map(({ event }) => event.path)).toEqual(["/1", "/2"]);
});

test("audit: an empty trail is a warning, a wrong share or directory wrong usage", async () => {
  const empty = await run(["audit", scratch.path, "--share", "s"]);
  expect(empty.status).toBe(3);
  expect(empty.stderr).toContain("Audit.FsEvents");
  server.share = { shareName: "s", sourceType: SourceType.NTFS };
  const cases: [string[], string][] = [
    [[scratch.path, "--share", "s"], "The share s is of type NTFS"],
    [[import.meta.filename, "--share", "s"], "is not a directory"],
    [[path.join(scratch.path, "gone"), "--share", "s"], "ENOENT"],
    [[scratch.path, "--share", "s", "--poll-interval", "0"], "from 0.1 to 3600"],
    [[scratch.path], "--share"],
  ];
  for (const [args, words] of cases) {
    const { status, stdout, stderr } = await run(["audit", ...args]);
    expect({ args, status, stdout }).toEqual({ args, status: 2, stdout: "" });
    expect(stderr).toContain(words);
  }
});

test("cursors: listed over all pages, and set back", async () => {
  await run(["audit", new URL(".", samples).pathname, "--share", "s"]);
  server.pageSize = 1;
  const listed = await run(["cursors", "--share", "s", "--json"]);
  expect(jsonLines<{ auditFilePath: string; position: string }>(listed.stdout)).toMatchObject([
    { auditFilePath: rotated, position: "2083" },
    { position: "2520" },
  ]);
  const words = await run(["cursors", "list", "--share", "s"]);
  expect(words.stdout).toMatch(/^POSITION .*\n +2,083 .*15\.00Z\.log\n +2,520 .*30\.00Z\.log\n$/);
  const reset = await run(["cursors", "reset", rotated, "--share", "s", "--position", "0", "--json"]);
  expect(jsonLines(reset.stdout)).toMatchObject([{ auditFilePath: rotated, position: "0" }]);
  expect(server.cursors.get(rotated)?.position).toBe(0n);
  const unknown = await run(["cursors", "reset", "x.log", "--share", "s", "--position", "0"]);
  expect(unknown).toMatchObject({ status: 1, stdout: "", stderr: "error: Nothing of x.log was read.\n" });
  expect((await run(["cursors", "reset", rotated, "--share", "s"])).status).toBe(2);
});

test("exclusions: added, listed, removed", async () => {
  const added = await run(["exclusions", "add", "user", "backup-svc", "--share", "s", "--json"]);
  expect(jsonLines(added.stdout)).toEqual([{ shareName: "s", kind: "AUDIT_EXCLUSION_KIND_USER", value: "backup-svc" }]);
  await run(["exclusions", "add", "action", "Pin"]);
  expect((await run(["exclusions"])).stdout).toBe("KIND    VALUE       SHARE\nuser    backup-svc  s\naction  Pin         (all)\n");
  expect((await run(["exclusions", "remove", "user", "backup-svc", "--share", "s"])).status).toBe(0);
  expect(jsonLines<object>((await run(["exclusions", "list", "--json"])).stdout)).toMatchObject([{ value: "Pin" }]);
  expect((await run(["exclusions", "add", "planet", "x"])).status).toBe(2);
});
