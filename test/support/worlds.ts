/** Databases that differ in one thing, each with a server: the same calls to both must be answered alike. */
import { type DescMethod, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import pg from "pg";
import { expect } from "vitest";
import { services } from "../../src/rpc/routes.js";
import { access } from "../../src/server/scopes.js";
import type { Furnishings } from "./furnished-tenant.js";
import { type TestDatabase, withClient } from "./postgres.js";
import { type Messages, rpcCases } from "./rpc-cases.js";
import { type LocalServer, startTestServer } from "./server.js";
import type { TestTenant } from "./tenant.js";
import type { WebhookSurroundings } from "./webhook-server.js";

/** Of no tenant: they need no key. */
export const methods = services
  .flatMap((service): DescMethod[] => [...service.methods])
  .filter(({ parent }) => !parent.typeName.startsWith("grpc."));
export const nameOf = (method: DescMethod) => `${method.parent.name}/${method.name}`;

const { OK, ABORTED, ALREADY_EXISTS, PERMISSION_DENIED, INTERNAL, UNKNOWN, UNIMPLEMENTED } = grpc.status;
/** Of one's own requests these do not succeed either: the name is taken, so that the other's are of what the other has; rules have changed by then. */
const refusedAnyway: Record<string, grpc.status> = { "ShareService/CreateShare 1": ALREADY_EXISTS, "RuleService/DeleteRule 1": ABORTED };

/** How the `n`th good request of a call ends, of a tenant that is not the platform's. */
export function expectedCode(method: DescMethod, n: number): grpc.status {
  const isPlatformOnly = access.get(`${method.parent.typeName}/${method.name}`)?.platform === true;
  return isPlatformOnly ? PERMISSION_DENIED : (refusedAnyway[`${nameOf(method)} ${n}`] ?? OK);
}

export interface World {
  server: LocalServer;
  superuser: pg.Client;
  channel: grpc.Client;
  close(): Promise<void>;
}

export interface Answer {
  code: grpc.status;
  /** As sent: the message, and google.rpc.Status in base64. */
  error: string;
  messages: string[];
  /** Of a list. */
  nextPageToken: string;
}

/** No background job runs meanwhile: what it did in one world, it might not have done yet in the other. */
export async function openWorld(database: TestDatabase, tenant: TestTenant, { masterKeyFile }: WebhookSurroundings): Promise<World> {
  const superuser = new pg.Client({ connectionString: database.superuserUrl });
  await superuser.connect();
  await superuser.query("SELECT pg_advisory_lock(hashtextextended('maintenance', 0))");
  const server = await startTestServer({ database, tenant, env: { FROSTLINE_MASTER_KEY_FILE: masterKeyFile } });
  const channel = new grpc.Client(server.address, grpc.credentials.createInsecure());
  const close = async () => {
    channel.close();
    await server.close();
    await superuser.end();
  };
  return { server, superuser, channel, close };
}

/** Numbers are drawn from sequences that tenants share; from now on, the same in both. */
export async function alignSequences(from: TestDatabase, to: TestDatabase): Promise<void> {
  const { rows } = await withClient(from.superuserUrl, (client) =>
    client.query("SELECT schemaname || '.' || sequencename AS name, last_value FROM pg_sequences WHERE last_value IS NOT NULL"),
  );
  await withClient(to.superuserUrl, async (client) => {
    for (const { name, last_value } of rows) await client.query("SELECT setval($1, $2)", [name, last_value]);
  });
}

/** What the calls of one tenant, as its admin, are answered in the worlds. */
export interface Caller {
  of: Furnishings;
  /** Ids of another tenant's: wherever an answer has one, it shows. */
  foreign: string[];
}

/** One call from its first message to its end; a watch, to the end of what there was when it began. */
export function call({ channel }: World, method: DescMethod, messages: Messages, { of, foreign }: Caller): Promise<Answer> {
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${of.keys.admin}`);
  const bytes = (message: Buffer) => message;
  return new Promise((resolve) => {
    const stream = channel.makeBidiStreamRequest(`/${method.parent.typeName}/${method.name}`, bytes, bytes, metadata);
    const answers: JsonValue[] = [];
    let ended = false;
    stream.on("data", (data: Buffer) => {
      const json = toJson(method.output, fromBinary(method.output, data)) as Record<string, { position?: string }>;
      answers.push(json);
      if (method.name !== "WatchWarming" || !Object.values(json).some(({ position = "0" }) => BigInt(position) >= BigInt(of.position)))
        return;
      ended = true;
      stream.cancel();
    });
    stream.on("error", () => {});
    stream.on("status", ({ code, details, metadata }) => {
      const [status = ""] = metadata.get("grpc-status-details-bin");
      const { nextPageToken = "" } = (answers[0] ?? {}) as { nextPageToken?: string };
      const error = ended ? "" : `${details} ${Buffer.from(status).toString("base64")}`;
      resolve({ code: ended ? OK : code, error, messages: answers.map((answer) => timeless(answer, foreign)), nextPageToken });
    });
    for (const message of messages) stream.write(Buffer.from(toBinary(method.input, fromJson(method.input, message))));
    stream.end();
  });
}

/** What two servers cannot have in common: times, and what is drawn at random. */
function timeless(message: JsonValue, foreign: string[]): string {
  return JSON.stringify(message)
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, (uuid) =>
      foreign.includes(uuid) ? `THEIRS ${uuid}` : "<uuid>",
    )
    .replace(/"nowUnix":"\d+"/g, '"nowUnix":"<time>"')
    .replace(/fl_[\w-]{43}|whsec_[\w+/=-]+/g, "<secret>");
}

/** The caller's good requests, with the second page's token where there are pages. */
export async function goodRequests(world: World, method: DescMethod, caller: Caller): Promise<Messages[]> {
  const requests = rpcCases[nameOf(method)]?.(caller.of) ?? [];
  if (method.input.field.pageToken === undefined) return requests;
  const pages: Messages[] = [];
  let tokens = 0;
  for (const [request] of requests) {
    const { nextPageToken } = await call(world, method, [{ ...request, pageSize: 1 }], caller);
    if (nextPageToken !== "") tokens++;
    pages.push([{ ...request, pageSize: 1, ...(nextPageToken && { pageToken: nextPageToken }) }]);
  }
  expect(tokens, `${nameOf(method)} of ${caller.of.word} has a second page`).toBeGreaterThan(0);
  return pages;
}

/** Calls both; returns the answer of the first. */
export async function expectSame([one, other]: [World, World], method: DescMethod, messages: Messages, caller: Caller): Promise<Answer> {
  const [answer, expected] = await Promise.all([call(one, method, messages, caller), call(other, method, messages, caller)]);
  const asked = JSON.stringify(messages);
  expect([INTERNAL, UNKNOWN, UNIMPLEMENTED], `${asked}: ${answer.error}`).not.toContain(answer.code);
  expect(answer, asked).toEqual(expected);
  return answer;
}
