/**
 * What one tenant is told does not depend on what another has. Two databases that differ in one thing: in the first there is a second
 * tenant, in the other it never was. The first tenant, as its admin, sends each call the other's names, ids, tokens and positions, one
 * at a time and all at once, to a server on each. The answers must be the same, byte for byte, and the other's rows as they were.
 */
import type { DescMethod, JsonValue } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Furnishings, furnishTenant } from "./support/furnished-tenant.js";
import { copyTestDatabase, createTestDatabase, type TestDatabase } from "./support/postgres.js";
import { differingFields, namingFields, replacements } from "./support/request-fields.js";
import { type Messages, rpcCases } from "./support/rpc-cases.js";
import { createTestTenant } from "./support/tenant.js";
import { tenantChecksums } from "./support/tenant-checksums.js";
import { type WebhookSurroundings, webhookSurroundings } from "./support/webhook-server.js";
import {
  alignSequences,
  type Caller,
  expectedCode,
  expectSame,
  goodRequests,
  methods,
  nameOf,
  openWorld,
  type World,
} from "./support/worlds.js";

let mine: Caller;
let theirs: Caller;
/** With the other tenant, and without. */
let both: World;
let alone: World;
let before: Record<string, string>;
let masterKey: WebhookSurroundings;

beforeAll(async () => {
  masterKey = await webhookSurroundings([]);
  const database = await createTestDatabase();
  const own = await furnish(database, "mine", 2);
  const copy = await copyTestDatabase(database);
  const other = await furnish(copy, "theirs", 5);
  mine = { of: own, foreign: [other.tenantId, other.keyId, other.leaseToken, other.webhookId, other.deliveryId] };
  theirs = { of: other, foreign: [] };
  await alignSequences(copy, database);
  [both, alone] = [await openWorld(copy, own, masterKey), await openWorld(database, own, masterKey)];
  before = await tenantChecksums(both.superuser, other.tenantId);
});
afterAll(async () => {
  for (const world of [both, alone]) {
    await world?.close();
    await world?.server.database.drop();
  }
  await masterKey?.remove();
});

async function furnish(database: TestDatabase, word: string, accesses: number): Promise<Furnishings> {
  const tenant = await createTestTenant(database);
  const { server, close } = await openWorld(database, tenant, masterKey);
  return furnishTenant(server, tenant, word, accesses).finally(close);
}

test("there is a case for each call", () => {
  expect(methods.map(nameOf).sort()).toEqual(Object.keys(rpcCases).sort());
});

describe("nothing of another tenant's is told, or that it is there", () => {
  test.each(Object.keys(rpcCases))("%s", async (name) => {
    const method = methods.find((of) => nameOf(of) === name) as DescMethod;
    const [own, other] = [await goodRequests(both, method, mine), await goodRequests(both, method, theirs)];
    expect(own.length).toBeGreaterThan(0);
    for (const [n, good] of own.entries()) {
      const foreign = other[n] as Messages;
      for (const messages of [foreign, ...(replacements(good, foreign) as Messages[])])
        await expectSame([both, alone], method, messages, mine);
      const { code, error } = await expectSame([both, alone], method, good, mine);
      // The request would have been good: nothing but the names kept the others from it.
      expect(code, `${JSON.stringify(good)}: ${error}`).toBe(expectedCode(method, n));
    }
  });
});

test("each field of a request that names something was tried", () => {
  const tried = methods.flatMap((method) =>
    (rpcCases[nameOf(method)]?.(mine.of) ?? []).flatMap((good, n) => {
      const foreign = rpcCases[nameOf(method)]?.(theirs.of)[n] as Messages;
      return good.flatMap((message, i) => differingFields(method.input, message, foreign[i] as JsonValue));
    }),
  );
  const naming = methods.flatMap(({ input }) => namingFields(input));
  expect(tried.length).toBeGreaterThan(60);
  expect([...new Set(naming)].filter((field) => !tried.includes(field) && !words.test(field)).sort()).toEqual([]);
});

/** Texts that name nothing of a tenant's. Page tokens were tried by what filled them in. */
const words =
  /\.(pageToken|reason|unreadableReason|refusedReason|expression|description|targetUri|objectUri|url|eventTypes|types|sourceRoot|actionName|fileExtension|resumeToken|fileHash|job)$|^(FileRecord|LeftOut)\.name$|^ResetAuditCursorRequest.position$/;

test("the other tenant's rows are as they were", async () => {
  expect(await tenantChecksums(both.superuser, theirs.of.tenantId)).toEqual(before);
});
