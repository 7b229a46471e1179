/** Each scope tries each RPC, over the wire: what it may is what the table says. */

import type { DescMethod } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TenantService } from "../src/gen/frostline/v1/tenant_pb.js";
import { services } from "../src/rpc/routes.js";
import { access } from "../src/server/scopes.js";
import { keyScopes } from "../src/tenancy/keys.js";
import { withClient } from "./support/postgres.js";
import { type LocalServer, startTestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";

const { PERMISSION_DENIED, UNAUTHENTICATED, UNIMPLEMENTED, OK } = grpc.status;
const methods = services.flatMap((service): DescMethod[] => [...service.methods]);
let server: LocalServer;
let channel: grpc.Client;

beforeAll(async () => {
  // Each scope and each RPC, with keys that are none: far more than anybody tries.
  server = await startTestServer({ env: { FROSTLINE_FAILED_AUTHENTICATIONS_PER_MINUTE: "10000" } });
  channel = new grpc.Client(server.address, grpc.credentials.createInsecure());
});
afterAll(async () => {
  channel?.close();
  await server?.close();
});

/** How the call ends that is sent an empty message, or nothing on a stream; OK as soon as a stream is answered. */
function tryCall(method: DescMethod, key: string | undefined): Promise<grpc.status> {
  const path = `/${method.parent.typeName}/${method.name}`;
  const metadata = new grpc.Metadata();
  if (key !== undefined) metadata.set("authorization", `Bearer ${key}`);
  const bytes = (message: Buffer) => message;
  const sends = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  return new Promise((resolve) => {
    const call = channel.makeBidiStreamRequest(path, bytes, bytes, metadata);
    call.on("data", () => {
      if (method.methodKind !== "server_streaming") return;
      resolve(OK);
      call.cancel();
    });
    call.on("error", () => {});
    call.on("status", ({ code }) => resolve(code));
    if (!sends) call.write(Buffer.alloc(0));
    call.end();
  });
}

const nameOf = (method: DescMethod) => `${method.parent.typeName}/${method.name}`;

test.each(keyScopes)("%s may what the table says, and nothing else", async (scope) => {
  expect(methods.length).toBeGreaterThan(40);
  for (const method of methods) {
    const needed = access.get(nameOf(method));
    const allowed = needed?.anyone === true || ((scope === "admin" || needed?.scopes.includes(scope)) && needed?.platform !== true);
    const code = await tryCall(method, server.keys[scope]);
    expect(code === PERMISSION_DENIED, `${nameOf(method)}: ${grpc.status[code]}`).toBe(!allowed);
    expect([UNAUTHENTICATED, UNIMPLEMENTED], nameOf(method)).not.toContain(code);
  }
});

test("without a key everything is refused but health and reflection", async () => {
  for (const method of methods) {
    const code = await tryCall(method, undefined);
    if (method.parent.typeName.startsWith("grpc.")) expect(code, nameOf(method)).toBe(OK);
    else expect(code, nameOf(method)).toBe(UNAUTHENTICATED);
  }
});

test.each([
  ["revoked", "UPDATE api_key SET revoked_utc = now() WHERE tenant_id = $1"],
  ["expired", "UPDATE api_key SET expires_utc = now() WHERE tenant_id = $1"],
])("with a %s admin key as well", async (_, sql) => {
  const { tenantId, keys } = await createTestTenant(server.database, { isPlatform: true });
  const { createTenant } = TenantService.method;
  expect(await tryCall(createTenant, keys.admin)).not.toBe(UNAUTHENTICATED);
  await withClient(server.database.superuserUrl, (superuser) => superuser.query(sql, [tenantId]));
  for (const method of methods.filter(({ parent }) => !parent.typeName.startsWith("grpc.")))
    expect(await tryCall(method, keys.admin), nameOf(method)).toBe(UNAUTHENTICATED);
});

test("an admin of the platform may everything, its other keys nothing that is the platform's alone", async () => {
  const { keys } = await createTestTenant(server.database, { isPlatform: true });
  for (const method of methods) expect(await tryCall(method, keys.admin), nameOf(method)).not.toBe(PERMISSION_DENIED);
  for (const method of methods.filter((of) => access.get(nameOf(of))?.platform === true))
    for (const scope of ["agent", "operator", "reader"] as const)
      expect(await tryCall(method, keys[scope]), nameOf(method)).toBe(PERMISSION_DENIED);
});
