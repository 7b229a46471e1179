/** Real files that are planned, moved away and brought back by movers that die. Whatever stands in its place, none loses its content. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect } from "vitest";
import { createClient } from "../../src/agent/client.js";
import { FileService } from "../../src/gen/frostline/v1/file_pb.js";
import { jsonLines } from "../support/command.js";
import { withClient } from "../support/postgres.js";
import { environmentOf, type FaultTenant, type Phases } from "./tenant.js";

const shareName = "films";
const filesOfCycle = 8;
const fileBytesAtMost = 60_000;
const mtimeUnix = 1_500_000_000;
/** A killed mover's claims are free again after it. */
const leaseSeconds = 4;

export class TieredFilms {
  /** Size and digest of each file, as it was made. */
  readonly #made = new Map<string, { sizeBytes: number; sha256: string }>();
  readonly #at: FaultTenant;
  readonly #root: string;
  readonly #target: string;
  #cycles = 0;

  private constructor(at: FaultTenant) {
    this.#at = at;
    this.#root = path.join(at.directory, shareName);
    this.#target = path.join(at.directory, "cold");
  }

  /** With a first scan, and the rule in force. */
  static async create(at: FaultTenant): Promise<TieredFilms> {
    const films = new TieredFilms(at);
    await fs.mkdir(films.#root);
    await fs.mkdir(films.#target);
    const rules = path.join(at.directory, "rules.yaml");
    const target = pathToFileURL(films.#target).href;
    await fs.writeFile(rules, `rules: [{ name: all, priority: 1, shares: [${shareName}], expression: 'size > 0', target: "${target}" }]\n`);
    await films.#makeFiles();
    await films.#scan(AbortSignal.timeout(60_000));
    const { status, stderr } = await at.agents.once("rules", ["rules", "apply", rules, "--yes"], environmentOf(at, "operator"));
    expect(status, stderr).toBe(0);
    return films;
  }

  get files(): number {
    return this.#made.size;
  }

  async work({ calm, deadline }: Phases): Promise<void> {
    while (!calm.aborted) {
      await this.#plan(deadline);
      await this.#move();
      if (calm.aborted) break;
      await this.#askBack();
      await this.#move();
      if (calm.aborted) break;
      await this.#makeFiles();
      await this.#scan(deadline);
    }
    await this.#plan(deadline);
    await this.#untilSettled(deadline);
  }

  /** Each file is where it says, whole, and known as it was; nothing is claimed or wanted any more. */
  async check(): Promise<void> {
    expect(await this.#objects()).toEqual({ objects: this.files, files: this.files, elsewhere: 0, claimed: 0, wanted: 0 });
    for (const [file, { sha256 }] of this.#made) expect(await this.#contentOf(file), file).toBe(sha256);
    const client = createClient({ server: this.#at.servers, key: this.#at.tenant.keys.reader });
    const { files } = await client.unary(FileService.method.listFiles, { shareName, pageSize: 10_000 }).finally(client.close);
    const known = files.map((file) => [file.path, file.sizeBytes, file.mtimeUnix].join(" | ")).sort();
    expect(known).toEqual([...this.#made].map(([file, { sizeBytes }]) => [file, sizeBytes, mtimeUnix].join(" | ")).sort());
  }

  async #makeFiles(): Promise<void> {
    const directory = `/c${this.#cycles++}`;
    await fs.mkdir(path.join(this.#root, directory));
    for (let no = 0; no < filesOfCycle; no++) {
      const file = `${directory}/f${no}.mov`;
      const content = randomBytes(this.#at.random.between(1, fileBytesAtMost));
      await fs.writeFile(path.join(this.#root, file), content);
      await fs.utimes(path.join(this.#root, file), mtimeUnix, mtimeUnix);
      this.#made.set(file, { sizeBytes: content.length, sha256: digest(content) });
    }
  }

  async #scan(deadline: AbortSignal): Promise<void> {
    const args = ["scan", this.#root, "--share", shareName, "--type", "LucidLink"];
    const { status, stderr } = await this.#at.agents.untilDone(`films ${this.#at.no}`, args, environmentOf(this.#at, "agent"), deadline);
    expect(status, stderr).toBe(0);
  }

  /** An answer that was lost is asked for again: it is one plan. */
  async #plan(deadline: AbortSignal): Promise<void> {
    const args = ["plan", "--share", shareName, "--confirm-brake", "--request-id", randomUUID()];
    const { status, stderr } = await this.#at.agents.untilDone(`plan ${this.#at.no}`, args, environmentOf(this.#at, "operator"), deadline);
    expect(status, stderr).toBe(0);
  }

  /** A mover on each server, until they have nothing to do or give up; the next ones go on. */
  async #move(): Promise<void> {
    const { agents, no, eachServer, tenant } = this.#at;
    const movers = eachServer.map((server, at) => {
      const args = ["--share", shareName, "--root", this.#root, "--server", server, "--lease-seconds", String(leaseSeconds)];
      return agents.move(`mover ${no}.${at}`, args, { FROSTLINE_KEY: tenant.keys.agent });
    });
    await Promise.all(movers);
  }

  /** Wants half of what is away back, if the server can be asked at the moment. */
  async #askBack(): Promise<void> {
    const { agents, no } = this.#at;
    const list = ["tier", "list", "--share", shareName, "--state", "STUBBED"];
    const { status, stdout } = await agents.once(`list ${no}`, list, environmentOf(this.#at, "reader"));
    const away = status === 0 ? jsonLines<{ tierId: string }>(stdout) : [];
    const ids = away.filter(({ tierId }) => Number(tierId) % 2 === 0).flatMap(({ tierId }) => ["--id", tierId]);
    if (ids.length > 0) await agents.once(`rehydrate ${no}`, ["tier", "rehydrate", ...ids], environmentOf(this.#at, "operator"));
  }

  /** Leases of killed movers end by themselves. What was tried in vain waits for longer each time: not here. */
  async #untilSettled(deadline: AbortSignal): Promise<void> {
    while ((await this.#objects()).wanted > 0 && !deadline.aborted) {
      await withClient(this.#at.database.superuserUrl, (client) =>
        client.query("UPDATE tier_object SET retry_after_utc = NULL WHERE tenant_id = $1", [this.#at.tenant.tenantId]),
      );
      await this.#move();
      await delay(200);
    }
  }

  async #objects() {
    const { rows } = await withClient(this.#at.database.superuserUrl, (client) =>
      client.query<Record<"objects" | "files" | "elsewhere" | "claimed" | "wanted", number>>(
        `SELECT count(*)::integer AS objects, count(DISTINCT file_current_id)::integer AS files,
           (count(*) FILTER (WHERE state NOT IN ('STUBBED', 'REHYDRATED')))::integer AS elsewhere,
           (count(*) FILTER (WHERE lease_token IS NOT NULL AND lease_until_utc IS NOT NULL))::integer AS claimed,
           (count(*) FILTER (WHERE wanted_action IS NOT NULL))::integer AS wanted
         FROM tier_object WHERE tenant_id = $1`,
        [this.#at.tenant.tenantId],
      ),
    );
    return rows[0] as (typeof rows)[number];
  }

  async #contentOf(file: string): Promise<string> {
    const content = await fs.readFile(path.join(this.#root, file));
    const text = content.toString("utf8");
    if (!text.startsWith('{"frostline_stub"')) return digest(content);
    return digest(await fs.readFile(fileURLToPath((JSON.parse(text) as { objectUri: string }).objectUri)));
  }
}

function digest(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
