/** `buf curl`: the schema from the server's reflection or from the proto files, by gRPC or Connect. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { packageRoot } from "../../src/db/embedded.js";
import { type Scope, scopes } from "../support/tenant.js";
import { type Json, runInJson } from "./in-json.js";
import type { ForeignClient, Scenario } from "./scenario.js";
import { buf } from "./tools.js";

const protoDirectory = path.join(packageRoot, "proto");

export const bufCurlReflection = bufCurl("buf curl by gRPC and reflection", ["--protocol", "grpc", "--http2-prior-knowledge"]);
export const bufCurlSchema = bufCurl("buf curl by Connect and schema", [
  "--protocol",
  "connect",
  "--http2-prior-knowledge",
  "--schema",
  protoDirectory,
]);

function bufCurl(name: string, options: string[]): ForeignClient {
  return {
    name,
    // buf is one of the packages that the tests are installed with.
    missing: () => undefined,
    async run(scenario) {
      // A file each: arguments are there for every user of the machine to see.
      for (const scope of scopes) await fs.writeFile(headers(scenario, scope), `authorization: Bearer ${scenario.server.keys[scope]}\n`);
      const call = (scope: Scope, method: string, requests: Json[]) =>
        curl(scenario, [...options, "-H", `@${headers(scenario, scope)}`], method, requests);
      const one = async (answers: Promise<Json[]>) => (await answers)[0] ?? {};
      return runInJson(scenario, {
        unary: (scope, method, request) => one(call(scope, method, [request])),
        clientStream: (scope, method, requests) => one(call(scope, method, requests)),
        serverStream: (scope, method, request) => call(scope, method, [request]),
      });
    },
  };
}

function headers(scenario: Scenario, scope: Scope): string {
  return path.join(scenario.scratch, scope);
}

async function curl({ server }: Scenario, options: string[], method: string, requests: Json[]): Promise<Json[]> {
  const url = `http://${server.address}/frostline.v1.${method}`;
  const child = spawn(buf, ["curl", ...options, "-d", "@-", url], { cwd: packageRoot, stdio: ["pipe", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.end(requests.map((request) => JSON.stringify(request)).join("\n"));
  const [status] = await once(child, "close");
  if (status !== 0) throw new Error(`buf curl ${method} ended with ${status}:\n${stderr}`);
  return parseObjects(stdout);
}

/** Objects one after the other, each of which begins at the left margin. */
function parseObjects(text: string): Json[] {
  return text
    .split(/\n(?=\{)/)
    .filter((part) => part.trim() !== "")
    .map((part) => JSON.parse(part));
}
