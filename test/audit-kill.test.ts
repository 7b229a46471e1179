/**
 * Agent, server and PostgreSQL are killed while a generated trail is read. FROSTLINE_TEST_AUDIT_KILLS: how often in all,
 * default 3; FROSTLINE_TEST_AUDIT_EVENTS: events of the trail, default 20,000.
 */
import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import type { AuditedShare } from "./support/audited-share.js";
import { cursorsOf, deliver, expectOutcome, trailShare } from "./support/audited-trail.js";
import { startEmbeddedCluster } from "./support/cluster.js";
import { type CommandResult, frostline } from "./support/command.js";
import { type GeneratedTrail, generateTrail, writeTrail } from "./support/generated-trail.js";
import { expectNothingLeft } from "./support/nothing-left.js";
import { createEmptyDatabase, type TestDatabase } from "./support/postgres.js";
import { signalWithChildren } from "./support/processes.js";
import { type Random, seededRandom } from "./support/random.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";

const events = Number(process.env.FROSTLINE_TEST_AUDIT_EVENTS ?? 20_000);
const kills = Number(process.env.FROSTLINE_TEST_AUDIT_KILLS ?? 3);
const timeout = 120_000 + events + kills * 30_000;
/** In one reading of the trail: each of the kinds as often. More of PostgreSQL within a minute, and an embedded one stays down. */
const killsOfOneTrail = 6;

type Kind = "agent" | "server" | "postgres";
const kinds: Kind[] = ["agent", "server", "postgres"];

let scratch: Scratch;
let trail: GeneratedTrail;
beforeAll(async () => {
  trail = generateTrail(events, (events * 2) / 5);
  scratch = await scratchDirectory();
  await writeTrail(scratch.path, trail.logs);
}, timeout);
afterAll(async () => {
  await scratch?.remove();
});

/** The agent as a process, which starts again when it was killed, or came while no server was there: as a service manager would do. */
class Agent {
  readonly #share: AuditedShare;
  #child: ChildProcess | undefined;
  #run: Promise<CommandResult>;
  /** How it ended, if it has. */
  last: CommandResult | undefined;

  constructor(share: AuditedShare) {
    this.#share = share;
    this.#run = this.#start();
  }

  #start(): Promise<CommandResult> {
    const { server, tenant, shareName } = this.#share;
    const env = { FROSTLINE_SERVER: server.address, FROSTLINE_KEY: tenant.keys.agent };
    this.last = undefined;
    return frostline(["audit", scratch.path, "--share", shareName, "--json"], {
      env,
      started: (child) => {
        this.#child = child;
      },
    }).then((result) => {
      if (result.status === 1 && result.stderr.includes("cannot be reached")) return this.#start();
      this.last = result;
      return result;
    });
  }

  async kill(): Promise<void> {
    this.#child?.kill("SIGKILL");
    expect((await this.#run).status).toBeNull();
    this.#run = this.#start();
  }

  ended(): Promise<CommandResult> {
    return this.#run;
  }
}

/** Waits for `read` to give `wanted`, however long that takes, as long as it rises. */
async function reach(read: () => Promise<number>, wanted: number, agent: Agent): Promise<void> {
  for (let seen = -1; seen < wanted; ) {
    const risen = async () => {
      const now = await read();
      const isHigher = now > seen;
      if (isHigher) seen = now;
      return isHigher;
    };
    await expect
      .poll(risen, { interval: 20, timeout: 60_000 })
      .toBe(true)
      .catch((cause) => {
        throw new Error(`The cursors stand at ${seen} of ${wanted} bytes. The agent ${JSON.stringify(agent.last) ?? "is still at it"}.`, {
          cause,
        });
      });
  }
}

/** One reading with kills; resolves with how many of them struck before all was read. */
async function readWithKills(database: TestDatabase, postgres: { readonly pid: number }, wanted: Kind[], random: Random): Promise<number> {
  let server: SpawnedServer = await spawnServer({ database });
  const { address } = server;
  try {
    const share = await trailShare(server, trail);
    const total = trail.logs.reduce((sum, { bytes }) => sum + bytes.length, 0);
    const readBytes = async () => (await cursorsOf(share)).reduce((sum, { position }) => sum + Number(position), 0);
    const agent = new Agent(share);
    let struck = 0;
    for (const [at, kind] of wanted.entries()) {
      // A moment somewhere in the next part of the trail.
      const wait = total * ((at + random.next()) / (wanted.length + 1));
      await reach(readBytes, Math.floor(wait), agent);
      await delay(random.between(0, 100));
      if ((await readBytes()) === total) break;
      struck++;
      if (kind === "agent") await agent.kill();
      else if (kind === "postgres") signalWithChildren(postgres.pid, "SIGKILL");
      else {
        await server.kill();
        server = await spawnServer({ database, tenant: server, env: { FROSTLINE_LISTEN: address } });
      }
      if (kind === "postgres")
        await expect.poll(() => readBytes().catch(() => -1), { interval: 100, timeout: 60_000 }).toBeGreaterThanOrEqual(0);
    }
    const { status, stderr } = await agent.ended();
    // Some lines are refused.
    expect(status, stderr).toBe(3);
    await expectOutcome(share, trail);
    expect((await deliver(share, scratch.path)).progress.lines).toBe(0);
    await expectNothingLeft(database, { served: true, crashed: true });
    return struck;
  } finally {
    await server.close();
  }
}

test("SIGKILL of agent, server and PostgreSQL at random moments: every line is applied once", { timeout }, async () => {
  const random = seededRandom();
  for (let struck = 0, readings = 0; struck < kills; readings++) {
    expect(readings, `${struck} kills struck so far`).toBeLessThan(kills + 2);
    const { cluster, postgres, stop } = await startEmbeddedCluster(18);
    try {
      const database = await createEmptyDatabase(cluster);
      await migrate(database.ownerUrl);
      const wanted = Array.from(
        { length: Math.min(kills - struck, killsOfOneTrail) },
        (_, n) => kinds[(struck + n) % kinds.length] as Kind,
      );
      struck += await readWithKills(database, postgres, random.shuffle(wanted), random);
    } finally {
      await stop();
    }
  }
});
