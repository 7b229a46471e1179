/** Rules of the layout that a linter's settings cannot say, and a check that those settings bite. */
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { packageRoot } from "../src/db/embedded.js";
import { scratchDirectory } from "./support/scratch.js";

const sources = fs
  .readdirSync(path.join(packageRoot, "src"), { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !file.startsWith("gen/"));

function text(file: string): string {
  return fs.readFileSync(path.join(packageRoot, "src", file), "utf8");
}

test("rpc and server contain no SQL", () => {
  const sql = /["'`]\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|BEGIN|COMMIT)\b/;
  expect(sources.filter((file) => /^(rpc|server)\//.test(file) && sql.test(text(file)))).toEqual([]);
});

test("nothing but the configuration and the command line reads the environment", () => {
  const readers = sources.filter((file) => /process\.env\b/.test(text(file)));
  expect(readers.filter((file) => file !== "main.ts" && !file.startsWith("cli/"))).toEqual([]);
});

test("no file goes beyond 300 lines by much", () => {
  const long = sources.map((file) => [file, text(file).split("\n").length] as const).filter(([, lines]) => lines > 330);
  expect(long).toEqual([]);
});

test("the linter refuses imports that point the wrong way, and no others", async () => {
  const wrong = {
    "src/agent/a.ts": "../server/start.js",
    "src/agent/b.ts": "../db/pool.js",
    "src/agent/c.ts": "pg",
    "src/db/a.ts": "../ingest/push.js",
    "src/db/b.ts": "../rpc/errors.js",
    "src/ingest/a.ts": "../rpc/context.js",
    "src/history/a.ts": "../server/start.js",
    "src/inventory/a.ts": "../cli/files.js",
    "src/tenancy/a.ts": "../agent/client.js",
    "src/rpc/a.ts": "../agent/client.js",
    "src/tier/a.ts": "../rpc/context.js",
    "examples/mover/a.ts": "../../src/agent/client.js",
  };
  const right = {
    "src/agent/d.ts": "../gen/frostline/v1/scan_pb.js",
    "src/server/a.ts": "../rpc/routes.js",
    "src/rpc/b.ts": "../ingest/push.js",
    "src/ingest/b.ts": "../db/tenant.js",
    "src/cli/a.ts": "../agent/client.js",
    "src/tier/b.ts": "../db/tenant.js",
    "examples/mover/b.ts": "../../src/gen/frostline/v1/tier_pb.js",
  };
  const scratch = await scratchDirectory();
  onTestFinished(() => scratch.remove());
  fs.copyFileSync(path.join(packageRoot, "biome.json"), path.join(scratch.path, "biome.json"));
  for (const [file, imported] of Object.entries({ ...wrong, ...right })) {
    fs.mkdirSync(path.dirname(path.join(scratch.path, file)), { recursive: true });
    fs.writeFileSync(path.join(scratch.path, file), `import "${imported}";\n`);
  }
  const biome = path.join(packageRoot, "node_modules", "@biomejs", "biome", "bin", "biome");
  const { stdout } = spawnSync(process.execPath, [biome, "lint", "--reporter=github", "."], { cwd: scratch.path, encoding: "utf8" });
  const refused = [...stdout.matchAll(/noRestrictedImports,file=([^,]+),/g)].map((match) =>
    path.relative(scratch.path, match[1] as string).replaceAll("\\", "/"),
  );
  expect(refused.sort()).toEqual(Object.keys(wrong).sort());
});
