/**
 * What one tenant is told does not depend on what another has. Two databases that differ in one thing: in the first there is a second
 * tenant, in the other it never was. The first tenant, as its admin, sends each call the other's names, ids, tokens and positions, one
 * at a time and all at once, to a server on each. The answers must be the same, byte for byte, and the other's rows as they were.
 */
import { type DescMethod, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { services } from "../src/rpc/routes.js";
import { access } from "../src/server/scopes.js";
import { type Furnishings, furnishTenant } from "./support/furnished-tenant.js";
import { copyTestDatabase, createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { differingFields, namingFields, replacements } from "./support/request-fields.js";
import { type Messages, rpcCases } from "./support/rpc-cases.js";
import { type LocalServer, startTestServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";
import { tenantChecksums } from "./support/tenant-checksums.js";
import { type WebhookSurroundings, webhookSurroundings } from "./support/webhook-server.js";

const { OK, ABORTED, ALREADY_EXISTS, PERMISSION_DENIED, INTERNAL, UNKNOWN, UNIMPLEMENTED } = grpc.status;
/** Of no tenant: they need no key. */
const methods = services
  .flatMap((service): DescMethod[] => [...service.methods])
  .filter(({ parent }) => !parent.typeName.startsWith("grpc."));
const nameOf = (method: DescMethod) => `${method.parent.name}/${method.name}`;
const platformOnly = (method: DescMethod) => access.get(`${method.parent.typeName}/${method.name}`)?.platform === true;

/** Of one's own requests these do not succeed either: the name is taken, so that the other's are of what the other has; rules have changed by then. */
const refusedAnyway: Record<string, grpc.status> = { "ShareService/CreateShare 1": ALREADY_EXISTS, "RuleService/DeleteRule 1": ABORTED };

interface World {
  server: LocalServer;
  superuser: pg.Client;
  channel: grpc.Client;
  close(): Promise<void>;
}

interface Answer {
  code: grpc.status;
  /** As sent: the message, and google.rpc.Status in base64. */
  error: string;
  messages: string[];
  /** Of a list. */
  nextPageToken: string;
}

let mine: Furnishings;
let theirs: Furnishings;
/** With the other tenant, and without. */
let both: World;
let alone: World;
let before: Record<string, string>;
let masterKey: WebhookSurroundings;

beforeAll(async () => {
  masterKey = await webhookSurroundings([]);
  const database = await createTestDatabase();
  mine = await furnish(database, "mine", 2);
  const copy = await copyTestDatabase(database);
  theirs = await furnish(copy, "theirs", 5);
  await alignSequences(copy, database);
  [both, alone] = [await openWorld(copy, mine), await openWorld(database, mine)];
  before = await tenantChecksums(both.superuser, theirs.tenantId);
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
  const { server, close } = await openWorld(database, tenant);
  return furnishTenant(server, tenant, word, accesses).finally(close);
}

/** Numbers are drawn from sequences that tenants share; from now on, the same in both. */
async function alignSequences(from: TestDatabase, to: TestDatabase): Promise<void> {
  const { rows } = await withClient(from.superuserUrl, (client) =>
    client.query("SELECT schemaname || '.' || sequencename AS name, last_value FROM pg_sequences WHERE last_value IS NOT NULL"),
  );
  await withClient(to.superuserUrl, async (client) => {
    for (const { name, last_value } of rows) await client.query("SELECT setval($1, $2)", [name, last_value]);
  });
}

/** No background job runs meanwhile: what it did in one world, it might not have done yet in the other. */
async function openWorld(database: TestDatabase, tenant: TestTenant): Promise<World> {
  const superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  await superuser.query("SELECT pg_advisory_lock(hashtextextended('maintenance', 0))");
  const server = await startTestServer({ database, tenant, env: { FROSTLINE_MASTER_KEY_FILE: masterKey.masterKeyFile } });
  const channel = new grpc.Client(server.address, grpc.credentials.createInsecure());
  const close = async () => {
    channel.close();
    await server.close();
    await superuser.end();
  };
  return { server, superuser, channel, close };
}

/** One call from its first message to its end; a watch, to the end of what there was when it began. */
function call({ channel }: World, method: DescMethod, messages: Messages, key: string): Promise<Answer> {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${key}`);
  const bytes = (message: Buffer) => message;
  return new Promise((resolve) => {
    const stream = channel.makeBidiStreamRequest(`/${method.parent.typeName}/${method.name}`, bytes, bytes, metadata);
    const answers: JsonValue[] = [];
    let ended = false;
    stream.on("data", (data: Buffer) => {
      const json = toJson(method.output, fromBinary(method.output, data)) as Record<string, { position?: string }>;
      answers.push(json);
      if (method.name !== "WatchWarming" || !Object.values(json).some(({ position = "0" }) => BigInt(position) >= BigInt(mine.position)))
        return;
      ended = true;
      stream.cancel();
    });
    stream.on("error", () => {});
    stream.on("status", ({ code, details, metadata }) => {
      const [status = ""] = metadata.get("grpc-status-details-bin");
      const { nextPageToken = "" } = (answers[0] ?? {}) as { nextPageToken?: string };
      const error = ended ? "" : `${details} ${Buffer.from(status).toString("base64")}`;
      resolve({ code: ended ? OK : code, error, messages: answers.map(timeless), nextPageToken });
    });
    for (const message of messages) stream.write(Buffer.from(toBinary(method.input, fromJson(method.input, message))));
    stream.end();
  });
}

/** What two servers cannot have in common: times, and what is drawn at random. */
function timeless(message: JsonValue): string {
  return JSON.stringify(message)
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (uuid) => (ofTheirs(uuid) ? `THEIRS ${uuid}` : "<uuid>"))
    .replace(/"nowUnix":"\d+"/g, '"nowUnix":"<time>"')
    .replace(/fl_[\w-]{43}|whsec_[\w+/=-]+/g, "<secret>");
}

function ofTheirs(uuid: string): boolean {
  return [theirs.tenantId, theirs.keyId, theirs.leaseToken, theirs.webhookId, theirs.deliveryId].includes(uuid);
}

/** A tenant's good requests, with the second page's token where there are pages. */
async function goodRequests(world: World, method: DescMethod, of: Furnishings): Promise<Messages[]> {
  const requests = rpcCases[nameOf(method)]?.(of) ?? [];
  if (method.input.field.pageToken === undefined) return requests;
  const pages: Messages[] = [];
  let tokens = 0;
  for (const [request] of requests) {
    const { nextPageToken } = await call(world, method, [{ ...request, pageSize: 1 }], of.keys.admin);
    if (nextPageToken !== "") tokens++;
    pages.push([{ ...request, pageSize: 1, ...(nextPageToken && { pageToken: nextPageToken }) }]);
  }
  expect(tokens, `${nameOf(method)} of ${of.word} has a second page`).toBeGreaterThan(0);
  return pages;
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
      for (const messages of [foreign, ...(replacements(good, foreign) as Messages[])]) await expectSame(method, messages);
      const { code, error } = await expectSame(method, good);
      // The request would have been good: nothing but the names kept the others from it.
      const expected = platformOnly(method) ? PERMISSION_DENIED : (refusedAnyway[`${name} ${n}`] ?? OK);
      expect(code, `${JSON.stringify(good)}: ${error}`).toBe(expected);
    }
  });
});

async function expectSame(method: DescMethod, messages: Messages): Promise<Answer> {
  const [one, other] = await Promise.all([call(both, method, messages, mine.keys.admin), call(alone, method, messages, mine.keys.admin)]);
  const asked = JSON.stringify(messages);
  expect([INTERNAL, UNKNOWN, UNIMPLEMENTED], `${asked}: ${one.error}`).not.toContain(one.code);
  expect(one, asked).toEqual(other);
  return one;
}

test("each field of a request that names something was tried", () => {
  const tried = methods.flatMap((method) =>
    (rpcCases[nameOf(method)]?.(mine) ?? []).flatMap((good, n) => {
      const foreign = rpcCases[nameOf(method)]?.(theirs)[n] as Messages;
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
  expect(await tenantChecksums(both.superuser, theirs.tenantId)).toEqual(before);
});
