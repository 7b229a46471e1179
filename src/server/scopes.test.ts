import { expect, test } from "vitest";
import { services } from "../rpc/routes.js";
import { access } from "./scopes.js";

test("every RPC has its scopes, and nothing else has", () => {
  const methods = services.flatMap((service) => service.methods.map((method) => `${service.typeName}/${method.name}`));
  expect([...access.keys()].sort()).toEqual(methods.sort());
});
