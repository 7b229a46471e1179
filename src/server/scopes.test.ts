import * as fs from "node:fs/promises";
import * as path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { DescService } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { services } from "../rpc/routes.js";
import { keyScopes } from "../tenancy/keys.js";
import { access } from "./scopes.js";

const gen = fileURLToPath(new URL("../gen", import.meta.url));

/** All services of the contract, whether the server has them or not. */
async function servicesOfContract(): Promise<DescService[]> {
  const files = (await fs.readdir(gen, { recursive: true })).filter((file) => file.endsWith("_pb.ts"));
  const modules = await Promise.all(files.map((file) => import(pathToFileURL(path.join(gen, file)).href)));
  return modules.flatMap((module) => Object.values(module)).filter(isService);
}

function isService(value: unknown): value is DescService {
  return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "service";
}

test("the server has every service of the contract", async () => {
  const contract = (await servicesOfContract()).map(({ typeName }) => typeName);
  expect(contract.length).toBeGreaterThan(10);
  expect(services.map(({ typeName }) => typeName as string).sort()).toEqual(contract.sort());
});

test("every RPC of the contract has its scopes, and nothing else has", async () => {
  const methods = (await servicesOfContract()).flatMap((service) => service.methods.map(({ name }) => `${service.typeName}/${name}`));
  expect([...access.keys()].sort()).toEqual(methods.sort());
});

test("what needs no key is not Frostline's own, and all else needs a scope that exists", () => {
  for (const [method, { scopes, anyone }] of access) {
    expect(anyone === true, method).toBe(method.startsWith("grpc."));
    expect(scopes.length > 0, method).toBe(anyone !== true);
    for (const scope of scopes) expect(keyScopes).toContain(scope);
  }
});

test("the contract's comments name the scopes that the table has", async () => {
  const root = path.dirname(path.dirname(gen));
  for (const service of await servicesOfContract()) {
    if (!service.typeName.startsWith("frostline.")) continue;
    const text = await fs.readFile(path.join(root, "proto", service.file.proto.name), "utf8");
    for (const { name } of service.methods) {
      const method = `${service.typeName}/${name}`;
      const comment = new RegExp(`((?:^ *//.*\\n)+) *rpc ${name}\\(`, "m").exec(text)?.[1]?.replace(/\s*\/\/\s*/g, " ") ?? "";
      const said = /Scopes?: ([a-z, ]+)/.exec(comment)?.[1] ?? "";
      expect(said.match(/agent|operator|reader|admin/g)?.sort(), `${method}: ${comment}`).toEqual(
        [...(access.get(method)?.scopes ?? [])].sort(),
      );
    }
  }
});
