/**
 * Requests that are wrong: fields of good ones replaced by what no client sends, and bytes damaged. Whatever comes, the server answers
 * within a bound and blames the caller, goes on serving, and keeps its data and its memory. FROSTLINE_TEST_FUZZ_REQUESTS sends as many,
 * every field with every value among them, and prints how many of each call were answered how.
 */
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { anyRequest } from "../support/fuzz-arbitrary.js";
import { everyEdit, type FuzzRequest, methods, nameOf } from "../support/fuzz-request.js";
import { isHeavy } from "../support/fuzz-values.js";
import { type Finding, type FuzzWorld, openFuzzWorld } from "../support/fuzz-world.js";
import { type Random, seededRandom } from "../support/random.js";
import { rpcCases } from "../support/rpc-cases.js";

const corpus = fileURLToPath(new URL("../corpus/", import.meta.url));
const wanted = Number(process.env.FROSTLINE_TEST_FUZZ_REQUESTS ?? 1500);
const isLong = process.env.FROSTLINE_TEST_FUZZ_REQUESTS !== undefined;
/** Shares and scans that were erased or ended are there again. */
const renewEvery = 20_000;
const drawnAtOnce = 500;
const longMs = 10 * 3_600_000;

let world: FuzzWorld;
beforeAll(async () => {
  world = await openFuzzWorld();
});
afterAll(() => world?.close());

/** A file of the corpus: what once found something. */
interface CorpusEntry {
  /** What it found. */
  found: string;
  request: FuzzRequest;
}

function readCorpus(): [string, CorpusEntry][] {
  const names = fs.readdirSync(corpus).filter((name) => name.endsWith(".json"));
  return names.sort().map((name) => [name, JSON.parse(fs.readFileSync(path.join(corpus, name), "utf8")) as CorpusEntry]);
}

/** The next run sends it first. One for each call and kind of failure: others are likely to be the same. */
function remember({ request, status, detail }: Finding): void {
  const entry: CorpusEntry = { found: `${status}: ${detail.slice(0, 200)}`, request };
  const name = createHash("sha256").update(`${request.method} ${status}`).digest("hex").slice(0, 8);
  const [, call = ""] = request.method.split("/");
  fs.writeFileSync(path.join(corpus, `found-${call}-${name}.json`), `${JSON.stringify(entry, null, 2)}\n`);
}

/** None is left; each is remembered. */
function expectNoFindings(): void {
  const found = world.findings.splice(0);
  for (const finding of found) remember(finding);
  expect(found.slice(0, 20).map(shown)).toEqual([]);
}

function shown({ request, ...answer }: Finding) {
  return { ...answer, request: JSON.stringify(request).slice(0, 500) };
}

test.each(readCorpus())("corpus: %s", async (_, { request }) => {
  await world.send(request);
  expectNoFindings();
});

test("each good request is taken, so that what is wrong with others is what was made wrong", async () => {
  await world.renew();
  // What is needed later goes last there.
  const order = Object.keys(rpcCases);
  const place = ({ parent, name }: (typeof methods)[number]) => order.indexOf(`${parent.name}/${name}`);
  const refused: string[] = [];
  for (const method of [...methods].sort((a, b) => place(a) - place(b))) {
    const { status, detail } = await world.send({ method: nameOf(method), transport: "grpc", base: 0, edits: [] });
    if (status !== "OK") refused.push(`${nameOf(method)}: ${status} ${detail}`);
  }
  expectNoFindings();
  expect(refused).toEqual([]);
  await world.renew();
});

test("fields replaced, bytes damaged: each call is answered, and nothing is the server's fault", { timeout: longMs }, async () => {
  const random = seededRandom();
  const progress = new Progress(world);
  if (isLong) console.log(`FROSTLINE_TEST_SEED=${random.seed}`);
  await world.run(allRequests(random), (count) => progress.sent(count));
  if (isLong) progress.print();
  expectNoFindings();
  await world.assertSound();
  progress.assertFlat();
});

function isLight({ edits }: FuzzRequest): boolean {
  return !edits.some(({ value }) => isHeavy(value));
}

function* allRequests(random: Random): Generator<FuzzRequest> {
  const edits = [...everyEdit()];
  const swept = isLong ? edits : random.shuffle(edits.filter(isLight)).slice(0, Math.floor(wanted / 2));
  yield* swept;
  for (let drawn = swept.length, seed = random.seed; drawn < wanted; drawn += drawnAtOnce, seed++)
    yield* fc.sample(anyRequest, { seed, numRuns: Math.min(drawnAtOnce, wanted - drawn) });
}

/** How far it is, and how much memory the server had at each step. */
class Progress {
  readonly #world: FuzzWorld;
  readonly #heaps: number[] = [];
  readonly #residents: number[] = [];
  readonly #startMs = performance.now();
  #sent = 0;
  #told = 0;

  constructor(world: FuzzWorld) {
    this.#world = world;
  }

  async sent(count: number): Promise<void> {
    const before = this.#sent;
    this.#sent += count;
    this.#tellFindings();
    const { heap, resident } = await this.#world.memory();
    this.#heaps.push(heap);
    this.#residents.push(resident);
    if (Math.floor(this.#sent / renewEvery) > Math.floor(before / renewEvery)) {
      await this.#world.renew();
      const seconds = Math.round((performance.now() - this.#startMs) / 1000);
      console.log(
        `${this.#sent} requests in ${seconds} s, ${this.#world.findings.length} findings, ${mib(heap)} MiB heap, ${mib(resident)} MiB resident`,
      );
    }
  }

  /** At once: a run of an hour may be ended before it could tell. */
  #tellFindings(): void {
    for (const finding of this.#world.findings.slice(this.#told)) {
      remember(finding);
      console.error(`After ${this.#sent} requests: ${JSON.stringify(shown(finding))}`);
    }
    this.#told = this.#world.findings.length;
  }

  /** What was left after a garbage collection is the least that was seen: of the second quarter of the run, and of its last. */
  assertFlat(): void {
    expect(mib(Math.max(...this.#residents))).toBeLessThan(residentMiB);
    // Of few looks none may have come after a collection.
    if (this.#heaps.length < looksAtLeast) return;
    const quarter = Math.floor(this.#heaps.length / 4);
    const least = (values: number[], from: number, to: number) => Math.min(...values.slice(from, to));
    const early = least(this.#heaps, quarter, 2 * quarter + 1);
    const late = least(this.#heaps, this.#heaps.length - quarter - 1, this.#heaps.length);
    expect(mib(late), `MiB of heap at the end; earlier ${mib(early)}`).toBeLessThan(mib(early) + growthMiB);
  }

  print(): void {
    for (const [key, count] of [...this.#world.tally].sort(([a], [b]) => (a < b ? -1 : 1)))
      console.log(`${String(count).padStart(8)} ${key}`);
    const byStatus = new Map<string, number>();
    for (const [key, count] of this.#world.tally) {
      const status = key.slice(key.indexOf(" ") + 1);
      byStatus.set(status, (byStatus.get(status) ?? 0) + count);
    }
    console.log(`in all: ${[...byStatus].map(([status, count]) => `${count} ${status}`).join(", ")}`);
    console.log(`heap, MiB: ${this.#sampled(this.#heaps)}; resident, MiB: ${this.#sampled(this.#residents)}`);
  }

  #sampled(values: number[]): string {
    const step = Math.max(1, Math.floor(values.length / 20));
    return values
      .filter((_, n) => n % step === 0)
      .map(mib)
      .join(" ");
  }
}

/** A heap that is not collected to its floor while it is looked at differs by so much. */
const growthMiB = 40;
const looksAtLeast = 80;
const residentMiB = 900;

function mib(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}
