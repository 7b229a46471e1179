/** One round: processes, work, faults by a seed, and what must be true when they are over. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { trailShare } from "../support/audited-trail.js";
import { generateTrail } from "../support/generated-trail.js";
import { fromSeed } from "../support/random.js";
import { type Scratch, scratchDirectory } from "../support/scratch.js";
import { Agents } from "./agents.js";
import { type Disk, openDisk } from "./disk.js";
import { FollowedTrail } from "./followed-trail.js";
import { type Injected, inject, type World } from "./inject.js";
import { expectIdle, expectMemoryBack, expectNothingLeft } from "./leaks.js";
import { Link } from "./link.js";
import { type FaultKind, faultKinds, planFaults } from "./plan.js";
import { FaultyPostgres } from "./postgres.js";
import { ScannedTree } from "./scanned-tree.js";
import { FaultyServer } from "./server.js";
import type { FaultTenant, Phases } from "./tenant.js";
import { TieredFilms } from "./tiered-films.js";

/** Agents that wait the longest begin again within 15 s, and a call that was stalled is given up after a minute. */
const patienceMs = 180_000;
const eventsPerSecond = 400;

export interface RoundLength {
  /** From the first fault to the end of the last. */
  durationMs: number;
  /** Between two faults, on the mean. */
  meanGapMs: number;
}

export interface RoundResult {
  seed: number;
  /** How many struck, and how many found nothing to strike. */
  faults: Partial<Record<FaultKind, number>>;
  missed: Partial<Record<FaultKind, number>>;
  scans: number;
  events: number;
  tieredFiles: number;
  /** How long each piece of work took to end once the faults were over. */
  calmAfterMs: Record<string, number>;
  /** What commands without a retry of their own failed with, and how often. */
  failures: Record<string, number>;
  /** What must not be. */
  findings: string[];
  log: Injected[];
}

interface Work {
  tree: ScannedTree;
  trail: FollowedTrail;
  films: TieredFilms;
}

export async function playRound(seed: number, length: RoundLength): Promise<RoundResult> {
  const disk = await openDisk();
  const scratch = await scratchDirectory();
  try {
    return await onPostgres(seed, length, disk, scratch);
  } finally {
    await scratch.remove();
    await disk.remove();
  }
}

async function onPostgres(seed: number, length: RoundLength, disk: Disk, scratch: Scratch): Promise<RoundResult> {
  const postgres = await FaultyPostgres.start(path.join(disk.path, "data"));
  const toDatabase = await Promise.all([1, 2].map((no) => Link.open(`server ${no} to postgres`, postgres.port)));
  const servers: FaultyServer[] = [];
  const toServers: Link[] = [];
  const agents = new Agents();
  try {
    for (const [no, link] of toDatabase.entries())
      servers.push(await FaultyServer.start(`server ${no + 1}`, postgres.database.runtimeUrl, link));
    for (const { name, port } of servers) toServers.push(await Link.open(`agents to ${name}`, port));
    const world: World = { disk, postgres, servers, links: [...toServers, ...toDatabase], agents };
    return await play(seed, length, world, scratch);
  } finally {
    agents.close();
    await Promise.all(servers.map((server) => server.stop()));
    await Promise.all([...toServers, ...toDatabase].map((link) => link.close()));
    await postgres.stop();
  }
}

async function play(seed: number, { durationMs, meanGapMs }: RoundLength, world: World, scratch: Scratch): Promise<RoundResult> {
  const random = fromSeed(seed);
  const kinds = faultKinds.filter((kind) => kind !== "fill disk" || world.disk.fill !== undefined);
  const plan = planFaults(random, durationMs, meanGapMs, kinds);
  const work = await Promise.all([1, 2].map((no) => setUp(no, seed + no, durationMs, world, scratch)));
  const floor = new Map<string, number>();
  for (const server of world.servers) floor.set(server.name, await server.heldBytes());

  const log: Injected[] = [];
  const findings: string[] = [];
  const calm = new AbortController();
  const phases: Phases = { calm: calm.signal, deadline: AbortSignal.timeout(durationMs + patienceMs) };
  let calmMs = Number.POSITIVE_INFINITY;
  const calmAfterMs: Record<string, number> = {};
  const working = work.flatMap(({ tree, trail, films }, at) => {
    const pieces = { scans: () => tree.work(phases), trail: () => trail.work(phases, durationMs), films: () => films.work(phases) };
    return Object.entries(pieces).map(async ([piece, run]) => {
      const name = `${piece} of tenant ${at + 1}`;
      await note(findings, name, run);
      calmAfterMs[name] = Math.round(performance.now() - calmMs);
    });
  });
  await inject(world, plan, (injected) => void log.push(injected));
  calmMs = performance.now();
  await world.postgres.untilUp();
  await Promise.all(world.servers.map((server) => server.untilListening()));
  calm.abort();
  await Promise.race([Promise.all(working), aborted(phases.deadline)]);
  if (phases.deadline.aborted)
    findings.push(`still at work ${patienceMs} ms after the faults: ${world.agents.running.map(([name]) => name)}`);

  await judge(world, work, floor, findings);
  const sum = (of: (work: Work) => number) => work.reduce((total, each) => total + of(each), 0);
  return {
    seed,
    faults: count(log.filter(({ struck }) => struck !== undefined)),
    missed: count(log.filter(({ struck }) => struck === undefined)),
    scans: sum(({ tree }) => tree.scans),
    events: sum(({ trail }) => trail.events),
    tieredFiles: sum(({ films }) => films.files),
    calmAfterMs,
    failures: Object.fromEntries(world.agents.failures),
    findings,
    log,
  };
}

async function setUp(no: number, seed: number, durationMs: number, { postgres, links, agents }: World, scratch: Scratch): Promise<Work> {
  const eachServer = links.filter(({ name }) => name.startsWith("agents")).map(({ port }) => `127.0.0.1:${port}`);
  // Half of the agents begin with the other server.
  const servers = (no % 2 === 0 ? eachServer : eachServer.toReversed()).join(",");
  const events = Math.round((durationMs / 1000) * eventsPerSecond);
  const trail = generateTrail(events, Math.round((events * 2) / 5));
  const share = await trailShare({ address: servers, database: postgres.database }, trail);
  const directory = path.join(scratch.path, `tenant${no}`);
  await fs.mkdir(directory);
  const { tenant } = share;
  const at: FaultTenant = { no, tenant, servers, eachServer, database: postgres.database, agents, random: fromSeed(seed), directory };
  return { tree: await ScannedTree.create(at), trail: new FollowedTrail(at, share, trail), films: await TieredFilms.create(at) };
}

async function judge(world: World, work: Work[], floor: Map<string, number>, findings: string[]): Promise<void> {
  for (const [at, { tree, trail, films }] of work.entries()) {
    await note(findings, `tree of tenant ${at + 1}`, () => tree.check());
    // With `verify` of the whole database.
    await note(findings, `trail of tenant ${at + 1}`, () => trail.check());
    await note(findings, `films of tenant ${at + 1}`, () => films.check());
  }
  await note(findings, "idle servers", () => expectIdle(world));
  await note(findings, "memory", () => expectMemoryBack(world, floor));
  findings.push(...world.agents.unexplained.map((failure) => `unexplained: ${failure}`));
  for (const server of world.servers) {
    await note(findings, `the stop of ${server.name}`, () => server.stop());
    findings.push(...server.findings);
  }
  await note(findings, "what is left", () => expectNothingLeft(world));
}

/** What goes wrong is a finding, and the round goes on. */
async function note(findings: string[], what: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    findings.push(`${what}: ${(error as Error).message.slice(0, 4000)}`);
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
}

function count(log: Injected[]): Partial<Record<FaultKind, number>> {
  const counts: Partial<Record<FaultKind, number>> = {};
  for (const { kind } of log) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
