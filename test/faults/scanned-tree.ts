/** A real tree that changes between scans, and is scanned as often as there is time; each scan must have seen what was there then. */
import { isUtf8 } from "node:buffer";
import * as fs from "node:fs";
import * as path from "node:path";
import { expect } from "vitest";
import { createClient } from "../../src/agent/client.js";
import { type FileInfo, FileService } from "../../src/gen/frostline/v1/file_pb.js";
import { ShareService, SourceType } from "../../src/gen/frostline/v1/share_pb.js";
import { type ChangingTree, makeChangingTree } from "../support/changing-tree.js";
import { jsonLines } from "../support/command.js";
import { withClient } from "../support/postgres.js";
import { difference, findTree } from "../support/witness.js";
import { environmentOf, type FaultTenant, type Phases } from "./tenant.js";

const shareName = "tree";
/** Beside those that change; with long names, so that they are several chunks. */
const steadyFiles = 2500;
const filesPerSecond = 1000;
const changesAtMost = 30;

export class ScannedTree {
  /** What the tree was when a scan of that id ended. */
  readonly #seen: { scanId: bigint; truth: string[] }[] = [];
  readonly #at: FaultTenant;
  readonly #root: string;
  readonly #tree: ChangingTree;

  private constructor(at: FaultTenant) {
    this.#at = at;
    this.#root = path.join(at.directory, shareName);
    fs.mkdirSync(this.#root);
    this.#tree = makeChangingTree(this.#root, at.random);
    for (let no = 0; no < steadyFiles; no++) {
      const directory = path.join(this.#root, "steady", `s${no % 37}`);
      fs.mkdirSync(directory, { recursive: true });
      // Their sizes are not those of the files that change.
      fs.writeFileSync(path.join(directory, `f${no}-${"x".repeat(200)}`), "");
    }
  }

  static async create(at: FaultTenant): Promise<ScannedTree> {
    const tree = new ScannedTree(at);
    const client = createClient({ server: at.servers, key: at.tenant.keys.operator });
    await client.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.LUCIDLINK }).finally(client.close);
    await withClient(at.database.superuserUrl, (superuser) =>
      superuser.query("UPDATE share SET brake_percent = 100 WHERE tenant_id = $1", [at.tenant.tenantId]),
    );
    return tree;
  }

  get scans(): number {
    return this.#seen.length;
  }

  /** Scan after scan until the faults are over; the last one may end after them. */
  async work({ calm, deadline }: Phases): Promise<void> {
    const { agents, no, random } = this.#at;
    const args = ["scan", this.#root, "--share", shareName, "--max-files-per-second", String(filesPerSecond)];
    do {
      for (let left = this.scans === 0 ? 0 : random.between(1, changesAtMost); left > 0; left--) this.#tree.change();
      const truth = await truthOf(this.#root);
      const { status, stdout, stderr } = await agents.untilDone(`scan ${no}`, args, environmentOf(this.#at, "agent"), deadline);
      // With a warning: some names are not text.
      expect([0, 3], stderr).toContain(status);
      const [scan] = jsonLines<{ scanId: string; counts: { files: string } }>(stdout);
      expect(Number(scan?.counts.files), "files that the scan counted").toBe(truth.length);
      this.#seen.push({ scanId: BigInt(scan?.scanId ?? 0), truth });
    } while (!calm.aborted);
  }

  /** Every scan that is stored, also one whose agent was killed before it could say so, is what was there. */
  async check(): Promise<void> {
    const { rows } = await withClient(this.#at.database.superuserUrl, (client) =>
      client.query<{ scan_id: string; status: string; files: number }>(
        "SELECT s.scan_id, s.status, s.files_listed::integer AS files FROM scan s JOIN share h USING (tenant_id, share_id) WHERE s.tenant_id = $1 AND h.share_name = $2 ORDER BY 1",
        [this.#at.tenant.tenantId, shareName],
      ),
    );
    expect(rows.filter(({ status }) => status !== "OK" && status !== "WARN")).toEqual([]);
    expect(rows.length).toBeGreaterThanOrEqual(this.scans);
    for (const { scan_id, files } of rows) {
      const truth = this.#seen.find(({ scanId }) => scanId >= BigInt(scan_id))?.truth ?? [];
      expect(files, `files that scan ${scan_id} counted`).toBe(truth.length);
      const same = { found: truth.length, unexpected: [], lacking: [] };
      expect(difference(await this.#snapshot(BigInt(scan_id)), truth), `the snapshot of scan ${scan_id}`).toEqual(same);
    }
    const now = this.#seen.at(-1)?.truth ?? [];
    expect(difference(await this.#files(), now), "the files").toEqual({ found: now.length, unexpected: [], lacking: [] });
  }

  async #snapshot(scanId: bigint): Promise<string[]> {
    const client = createClient({ server: this.#at.servers, key: this.#at.tenant.keys.reader });
    try {
      const lines: string[] = [];
      for await (const { files } of client.serverStream(FileService.method.streamSnapshot, { scanId })) lines.push(...files.map(lineOf));
      return lines;
    } finally {
      client.close();
    }
  }

  async #files(): Promise<string[]> {
    const client = createClient({ server: this.#at.servers, key: this.#at.tenant.keys.reader });
    try {
      const lines: string[] = [];
      let pageToken = "";
      do {
        const page = await client.unary(FileService.method.listFiles, { shareName, pageSize: 10_000, pageToken });
        lines.push(...page.files.map(lineOf));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      return lines;
    } finally {
      client.close();
    }
  }
}

async function truthOf(root: string): Promise<string[]> {
  const { files } = await findTree(root);
  return files.filter((file) => isUtf8(file.path)).map((file) => lineOf({ ...file, path: file.path.toString() }));
}

/** Without what is allocated: some file systems make up their minds later. */
function lineOf(file: Pick<FileInfo, "path" | "sizeBytes" | "mtimeUnix" | "linkCount">): string {
  return [file.path, file.sizeBytes, file.mtimeUnix, file.linkCount].join(" | ");
}
