/** A filespace of real files, worked on with the command line as its operators would, and with the reference mover. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import { type Moved, runMover } from "../../examples/mover/run.js";
import { frostline, jsonLines } from "./command.js";
import { withClient } from "./postgres.js";
import { type Scratch, scratchDirectory } from "./scratch.js";
import { startTestServer, type TestServer } from "./server.js";

export interface TrailLine {
  action: string;
  path: string;
  targetPath?: string;
  user: string;
  host?: string;
}

const filespaceUuid = "7c1d1c62-0000-4000-8000-00000000f11e";

export class Filespace {
  readonly server: TestServer;
  readonly shareName = "films";
  readonly root: string;
  readonly target: string;
  readonly #scratch: Scratch;

  private constructor(server: TestServer, scratch: Scratch) {
    this.server = server;
    this.#scratch = scratch;
    this.root = path.join(scratch.path, "films");
    this.target = path.join(scratch.path, "cold storage");
  }

  /** Its server runs the background jobs every second. */
  static async open(): Promise<Filespace> {
    const filespace = new Filespace(await startTestServer({ env: { FROSTLINE_MAINTENANCE_SECONDS: "1" } }), await scratchDirectory());
    await fs.mkdir(filespace.root);
    await fs.mkdir(filespace.target);
    return filespace;
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.#scratch.remove();
  }

  /** `file` from the root, with a leading slash, as in the inventory. */
  at(file: string): string {
    return path.join(this.root, file);
  }

  async write(file: string, content: Buffer, modified: Date): Promise<void> {
    await fs.mkdir(path.dirname(this.at(file)), { recursive: true });
    await fs.writeFile(this.at(file), content);
    await fs.utimes(this.at(file), modified, modified);
  }

  /** A command that must succeed; what it wrote. */
  async run(scope: "agent" | "operator" | "reader", ...args: string[]): Promise<{ stdout: string; stderr: string }> {
    const env = { FROSTLINE_SERVER: this.server.address, FROSTLINE_KEY: this.server.keys[scope] };
    const { status, stdout, stderr } = await frostline(args, { env });
    if (status !== 0) throw new Error(`frostline ${args.join(" ")} ended with ${status}:\n${stderr}`);
    return { stdout, stderr };
  }

  /** The same with --json. */
  async json<T>(scope: "agent" | "operator" | "reader", ...args: string[]): Promise<T[]> {
    return jsonLines<T>((await this.run(scope, "--json", ...args)).stdout);
  }

  /** What a whole scan says that is different. */
  async scan(): Promise<Record<"added" | "changed" | "removed" | "moved", string>> {
    const [scan] = await this.json<{ counts: Record<string, string> }>(
      "agent",
      "scan",
      this.root,
      "--share",
      this.shareName,
      "--type",
      "LucidLink",
    );
    const { added = "0", changed = "0", removed = "0", moved = "0" } = scan?.counts ?? {};
    return { added, changed, removed, moved };
  }

  async applyRules(yaml: string): Promise<void> {
    const file = path.join(this.#scratch.path, "rules.yaml");
    await fs.writeFile(file, yaml.replaceAll("TARGET", pathToFileURL(this.target).href));
    await this.run("operator", "rules", "apply", file, "--yes");
  }

  /** The reference mover, until nothing is left to do. */
  async move(): Promise<Moved> {
    const problems: string[] = [];
    const moved = await runMover({
      server: this.server.address,
      key: this.server.keys.agent,
      shareName: this.shareName,
      root: this.root,
      holder: "lifecycle",
      leaseSeconds: 60,
      workers: 2,
      log: (message) => problems.push(message),
    });
    if (problems.length > 0) throw new Error(`The mover had problems:\n${problems.join("\n")}`);
    return moved;
  }

  /** Appends lines to the trail, of this moment, and streams it. Returns the counts. */
  async happen(lines: TrailLine[]): Promise<Record<string, string>> {
    const log = path.join(this.root, ".lucid_audit", "node-1", "2026", "11", "1.log.active");
    await fs.mkdir(path.dirname(log), { recursive: true });
    await fs.appendFile(log, lines.map((line) => `${lineOf(line)}\n`).join(""));
    const [result] = await this.json<{ counts: Record<string, string> }>("agent", "audit", this.root, "--share", this.shareName);
    return result?.counts ?? {};
  }

  /** Rows as the superuser sees them; `$1` is the tenant. */
  async look<Row extends Record<string, unknown>>(sql: string, ...rest: unknown[]): Promise<Row[]> {
    const { database, tenantId } = this.server;
    return withClient(database.superuserUrl, async (client) => (await client.query<Row>(sql, [tenantId, ...rest])).rows);
  }
}

function lineOf({ action, path: entryPath, targetPath, user, host = "desk" }: TrailLine): string {
  return JSON.stringify({
    timestamp: Date.now() * 1000,
    user: { name: user, id: user },
    device: { hostName: host, osName: "macOS", osVersion: "15.0" },
    event: { filespace: "films.studio", nodeId: "node-1", filespaceUuid },
    operation: { action, entryPath, ...(targetPath === undefined ? {} : { targetPath }), fileId: "1" },
  });
}
