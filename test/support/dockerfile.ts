/**
 * Builds what a Dockerfile says in plain directories, with this machine's Node in place of the base image's: each stage a
 * directory, each RUN in its WORKDIR. Enough for COPY, ENV, RUN, WORKDIR and what only describes the image; anything else throws.
 */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

export interface BuiltImage {
  /** The last stage's root. */
  root: string;
  workdir: string;
  env: Record<string, string>;
  entrypoint: string[];
  command: string[];
  healthcheck: string[];
  user: string;
  /** What was copied out of the context, from its root. */
  copied: string[];
}

interface BuildOptions {
  context: string;
  /** Empty; becomes the stages' parent. */
  scratch: string;
  /** In place of a RUN's command. */
  instead?: Record<string, (workdir: string) => void>;
}

interface Stage extends BuiltImage {
  name: string;
}

const onlyDescribes = new Set(["ARG", "EXPOSE"]);

export function buildDockerfile(options: BuildOptions): BuiltImage {
  const stages: Stage[] = [];
  const copied: string[] = [];
  for (const [instruction, rest] of readInstructions(fs.readFileSync(path.join(options.context, "Dockerfile"), "utf8"))) {
    const stage = stages.at(-1);
    if (instruction === "FROM") stages.push(newStage(rest, options.scratch, stages.length, copied));
    else if (stage !== undefined) apply(stage, instruction, rest, stages, options);
    else if (!onlyDescribes.has(instruction)) throw new Error(`${instruction} before FROM`);
  }
  return stages.at(-1) as Stage;
}

function readInstructions(text: string): [string, string][] {
  const lines = text.replaceAll("\\\n", " ").split("\n");
  return lines
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [, instruction = "", rest = ""] = /^(\S+)\s+(.*)$/.exec(line) ?? [];
      return [instruction, rest];
    });
}

function newStage(rest: string, scratch: string, index: number, copied: string[]): Stage {
  const root = path.join(scratch, String(index));
  fs.mkdirSync(root);
  const name = / AS (\S+)$/.exec(rest)?.[1] ?? String(index);
  return { name, root, workdir: root, env: {}, entrypoint: [], command: [], healthcheck: [], user: "root", copied };
}

function apply(stage: Stage, instruction: string, rest: string, stages: Stage[], options: BuildOptions): void {
  switch (instruction) {
    case "WORKDIR":
      stage.workdir = path.join(stage.root, rest);
      fs.mkdirSync(stage.workdir, { recursive: true });
      return;
    case "COPY":
      copy(stage, rest.split(/\s+/), stages, options.context);
      return;
    case "RUN":
      if (options.instead?.[rest] !== undefined) options.instead[rest](stage.workdir);
      else run(stage, rest);
      return;
    case "ENV":
      for (const [, name, value] of rest.matchAll(/(\w+)=(\S+)/g)) stage.env[name as string] = value as string;
      return;
    case "USER":
      stage.user = rest;
      return;
    case "ENTRYPOINT":
      stage.entrypoint = JSON.parse(rest);
      return;
    case "CMD":
      stage.command = JSON.parse(rest);
      return;
    case "HEALTHCHECK":
      stage.healthcheck = JSON.parse(rest.slice(rest.indexOf("[")));
      return;
    default:
      if (!onlyDescribes.has(instruction)) throw new Error(`${instruction} is not understood here`);
  }
}

function copy(stage: Stage, words: string[], stages: Stage[], context: string): void {
  const from = words[0]?.startsWith("--from=") ? words.shift()?.slice("--from=".length) : undefined;
  const source = stages.find(({ name }) => name === from);
  if (from !== undefined && source === undefined) throw new Error(`COPY --from=${from}: there is no such stage before`);
  const target = words.pop() as string;
  for (const word of words) {
    if (source === undefined) stage.copied.push(word);
    const inDirectory = target.endsWith("/") ? path.join(target, path.basename(word)) : target;
    fs.cpSync(path.join(source?.root ?? context, word), path.resolve(stage.workdir, inDirectory), {
      recursive: true,
      verbatimSymlinks: true,
    });
  }
}

function run(stage: Stage, command: string): void {
  const { PATH = "", HOME = "" } = process.env;
  const { status, stdout, stderr } = spawnSync("sh", ["-c", command], { cwd: stage.workdir, env: { PATH, HOME }, encoding: "utf8" });
  if (status !== 0) throw new Error(`RUN ${command} ended with ${status}:\n${stdout}${stderr}`);
}
