/** CPU and allocation profiles of Node processes, and what they spend most in. */
import * as fs from "node:fs/promises";
import * as path from "node:path";

const shown = 15;

export interface Profiling {
  /** For node's command line. */
  args: string[];
  env: Record<string, string>;
}

/** Nothing without a directory. Profiles are written when the process ends; a second process of the name overwrites the first's. */
export function profiling(dir: string | undefined, name: string): Profiling {
  if (dir === undefined) return { args: [], env: {} };
  const place = path.resolve(dir);
  return {
    args: [
      "--cpu-prof",
      `--cpu-prof-dir=${place}`,
      `--cpu-prof-name=${name}.cpuprofile`,
      "--import",
      new URL("allocation-profile.js", import.meta.url).href,
    ],
    env: { FROSTLINE_BENCH_ALLOCATIONS: path.join(place, `${name}.heapprofile`) },
  };
}

interface CallFrame {
  functionName: string;
  url: string;
  lineNumber: number;
}

interface CpuProfile {
  nodes: { id: number; callFrame: CallFrame }[];
  samples: number[];
  /** Microseconds before each sample. */
  timeDeltas: number[];
}

interface HeapNode {
  callFrame: CallFrame;
  selfSize: number;
  children: HeapNode[];
}

/** On stderr: of each profile in the directory, the functions that took the most time, or allocated the most bytes, themselves. */
export async function printProfiles(dir: string): Promise<void> {
  for (const file of (await fs.readdir(dir)).sort()) {
    const isCpu = file.endsWith(".cpuprofile");
    if (!isCpu && !file.endsWith(".heapprofile")) continue;
    const profile = JSON.parse(await fs.readFile(path.join(dir, file), "utf8"));
    const own = isCpu ? ownTime(profile as CpuProfile) : ownBytes((profile as { head: HeapNode }).head);
    printOwn(file, own, isCpu ? (micros) => `${(micros / 1000).toFixed(0)} ms` : (bytes) => `${(bytes / 1024).toFixed(0)} KiB`);
  }
}

function printOwn(file: string, own: Map<string, number>, words: (value: number) => string): void {
  own.delete("(idle)");
  const all = [...own.values()].reduce((sum, value) => sum + value, 0);
  console.error(`\n${file}: ${words(all)}`);
  const most = [...own].sort(([, a], [, b]) => b - a).slice(0, shown);
  for (const [name, value] of most) console.error(`${((100 * value) / all).toFixed(1).padStart(6)} %${words(value).padStart(12)}  ${name}`);
}

function ownTime({ nodes, samples, timeDeltas }: CpuProfile): Map<string, number> {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, frameName(callFrame)]));
  const own = new Map<string, number>();
  for (const [at, id] of samples.entries()) add(own, names.get(id) as string, timeDeltas[at] as number);
  return own;
}

function ownBytes(head: HeapNode): Map<string, number> {
  const own = new Map<string, number>();
  const pending = [head];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    add(own, frameName(node.callFrame), node.selfSize);
    pending.push(...node.children);
  }
  return own;
}

function add(own: Map<string, number>, name: string, value: number): void {
  own.set(name, (own.get(name) ?? 0) + value);
}

function frameName({ functionName, url, lineNumber }: CallFrame): string {
  const place = url.replace(/^.*\/(node_modules|dist)\//, "");
  return place === "" ? functionName : `${functionName || "(anonymous)"} ${place}:${lineNumber + 1}`;
}
