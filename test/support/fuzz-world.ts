/** A server in a process of its own, a tenant that has something of everything, and what is held against each answer. */
import { randomUUID } from "node:crypto";
import * as fs from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { expect, vi } from "vitest";
import { type Client, createClient } from "../../src/agent/client.js";
import { RpcError } from "../../src/agent/rpc-error.js";
import { createPools } from "../../src/db/pool.js";
import { PushScanResponseSchema, ScanMode, ScanService, ScanStatus } from "../../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../../src/gen/frostline/v1/share_pb.js";
import { access } from "../../src/server/scopes.js";
import { verify } from "../../src/verify/verify.js";
import { type Furnishings, furnishTenant } from "./furnished-tenant.js";
import { type Answer, FuzzClient } from "./fuzz-client.js";
import { encodeRequest } from "./fuzz-encode.js";
import { endless, type FuzzFurnishings, type FuzzRequest, methodOf } from "./fuzz-request.js";
import { expectNothingLeft } from "./nothing-left.js";
import { createTestDatabase, type TestDatabase, withClient } from "./postgres.js";
import { type SpawnedServer, spawnServer } from "./server.js";
import { chunk, file, listing } from "./streams.js";
import { createTestTenant, type TestTenant } from "./tenant.js";
import { type WebhookSurroundings, webhookSurroundings } from "./webhook-server.js";

/** A request that breaks off, or never ends, is answered after so long. */
export const requestSeconds = 2;

/** Broken by furnished-tenant.ts, whose plan stands for one that took its objects. */
const asFurnished = "tier_plan-objects";

/** What no client may bring about, whatever it sends. */
const neverAnswers = /^(INTERNAL|UNKNOWN|DATA_LOSS|NO ANSWER|NO STATUS|BROKEN|HTTP 50[0-4])$/;

export interface Finding {
  request: FuzzRequest;
  status: string;
  detail: string;
}

export interface FuzzWorld {
  server: SpawnedServer;
  httpUrl: string;
  database: TestDatabase;
  /** What was answered, as `method status`. */
  tally: Map<string, number>;
  findings: Finding[];
  /** A tenant with new shares, scans and keys for the requests to come. */
  renew(): Promise<void>;
  /** Sends all, some at a time; calls `afterSome` with how many were begun since it was last called. */
  run(requests: Iterable<FuzzRequest>, afterSome?: (begun: number) => Promise<void>): Promise<void>;
  /** Judges one answer as `run` does. */
  send(request: FuzzRequest): Promise<Answer>;
  /** Alive, logged no error, and no call is left open. */
  assertServing(): Promise<void>;
  /** That; and nothing is left open in the database, data is as it must be, and a client that is well is served. */
  assertSound(): Promise<void>;
  /** Bytes: of the heap, and resident. */
  memory(): Promise<{ heap: number; resident: number }>;
  close(): Promise<void>;
}

const atOnce = 32;
const someRequests = 500;
const upkeepTries = 20;

export async function openFuzzWorld(): Promise<FuzzWorld> {
  const masterKey = await webhookSurroundings([]);
  const database = await createTestDatabase();
  const platform = await createTestTenant(database, { isPlatform: true });
  const server = await spawnServer({ database, tenant: platform, env: environment(masterKey) });
  const httpUrl = await httpUrlOf(server);
  const client = new FuzzClient({ address: server.address, httpUrl });
  const world = new World(server, httpUrl, database, platform, client);
  await world.renew();
  const close = async () => {
    client.close();
    world.stop();
    await server.close();
    await database.drop();
    await masterKey.remove();
  };
  return Object.assign(world, { close });
}

function environment(masterKey: Pick<WebhookSurroundings, "masterKeyFile">): Record<string, string> {
  return {
    FROSTLINE_MASTER_KEY_FILE: masterKey.masterKeyFile,
    FROSTLINE_HTTP_LISTEN: "127.0.0.1:0",
    FROSTLINE_REQUEST_SECONDS: String(requestSeconds),
    // Requests are logged at info by the thousand.
    FROSTLINE_LOG_LEVEL: "warn",
    FROSTLINE_LOG_PATHS: "1",
  };
}

async function httpUrlOf(server: SpawnedServer): Promise<string> {
  const found = await vi.waitUntil(() => /^Probes and metrics are on (\S+)$/m.exec(server.output()));
  return found[1] as string;
}

class World {
  readonly tally = new Map<string, number>();
  readonly findings: Finding[] = [];
  #furnishings: Furnishings | undefined;
  #admin: Client | undefined;
  #erasable: TestTenant | undefined;
  #nextChunkNo = 0n;
  #sent = 0;

  constructor(
    readonly server: SpawnedServer,
    readonly httpUrl: string,
    readonly database: TestDatabase,
    readonly platform: TestTenant,
    readonly client: FuzzClient,
  ) {}

  async renew(): Promise<void> {
    const tenant = await createTestTenant(this.database);
    this.#erasable = await createTestTenant(this.database);
    this.#furnishings = await furnishTenant(this.server, tenant, `fuzz ${tenant.code}`, 3);
    // There as well: no mover told of its stub.
    await withClient(this.database.superuserUrl, (client) =>
      client.query("UPDATE tier_object SET stub_mtime_unix = 1 WHERE tenant_id = $1 AND state = 'STUBBED' AND stub_mtime_unix IS NULL", [
        tenant.tenantId,
      ]),
    );
    this.#admin?.close();
    this.#admin = createClient({ server: this.server.address, key: tenant.keys.admin });
    for (const shareName of ["doomed", "doomed three"])
      await this.#admin.unary(ShareService.method.createShare, { shareName, sourceType: SourceType.NTFS });
    // That of the scan which has one chunk.
    this.#nextChunkNo = 1n;
  }

  stop(): void {
    this.#admin?.close();
  }

  async run(requests: Iterable<FuzzRequest>, afterSome: (begun: number) => Promise<void> = async () => {}): Promise<void> {
    const iterator = requests[Symbol.iterator]();
    let begun = 0;
    let counted = 0;
    let kept = Promise.resolve();
    const worker = async () => {
      for (let next = iterator.next(); next.done !== true; next = iterator.next()) {
        if (begun++ % someRequests === 0) {
          const sinceThen = begun - counted;
          counted = begun;
          // None begins meanwhile; those under way are not waited for, some take seconds.
          kept = this.#upkeep().then(() => afterSome(sinceThen));
        }
        await kept;
        await this.send(next.value);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    await afterSome(begun - counted);
  }

  async send(request: FuzzRequest): Promise<Answer> {
    this.#sent += 1;
    const { runningScanId } = this.#furnishings as Furnishings;
    const encoded = encodeRequest(request, this.#furnishingsFor(request));
    const method = methodOf(request.method);
    const needed = access.get(request.method);
    const { keys } = needed?.platform === true ? this.platform : (this.#furnishings as Furnishings);
    if (needed?.anyone !== true) encoded.headers.authorization = `Bearer ${keys.admin}`;
    const isHttp1 = request.transport.endsWith("http/1.1");
    const answer = await this.client.send(encoded, { isHttp1, isEndless: endless.has(method.name) });
    const key = `${request.method} ${answer.status}`;
    this.tally.set(key, (this.tally.get(key) ?? 0) + 1);
    if (neverAnswers.test(answer.status)) this.findings.push({ request, status: answer.status, detail: answer.detail });
    else if (method.name === "PushScan" && answer.status === "OK" && runningScanId === this.#furnishings?.runningScanId)
      this.#pushed(answer);
    return answer;
  }

  /** What is there to be found by the request; what it may destroy is nobody else's. */
  #furnishingsFor({ method }: FuzzRequest): FuzzFurnishings {
    const named = this.#furnishings as Furnishings;
    const own = { ...named, nextChunkNo: this.#nextChunkNo, freshAuditFile: `${named.word}/${this.#sent}.log` };
    if (method.endsWith("/EraseShare")) return { ...own, word: "doomed" };
    if (method.endsWith("/EraseTenant")) return { ...own, ...this.#erasable };
    if (method.endsWith("/CreateTenant")) return { ...own, code: `t-${randomUUID().slice(0, 8)}` };
    if (method.endsWith("/Plan")) return { ...own, requestId: randomUUID() };
    return own;
  }

  #pushed({ message }: Answer): void {
    // Over gRPC and Connect alike the message is all there is.
    this.#nextChunkNo = fromBinary(PushScanResponseSchema, message).nextChunkNo;
  }

  /** A scan that pushes go on with, since others end it; so may requests that are under way. */
  async #upkeep(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#startOwnScan();
      } catch (error) {
        if (!(error instanceof RpcError) || tries === upkeepTries) throw error;
      }
    }
  }

  async #startOwnScan(): Promise<void> {
    const admin = this.#admin as Client;
    const own = this.#furnishings as Furnishings;
    const { scans } = await admin.unary(ScanService.method.listScans, { shareName: own.word });
    for (const { scanId, status } of scans) if (status === ScanStatus.RUNNING) await admin.unary(ScanService.method.abortScan, { scanId });
    const { scan } = await admin.unary(ScanService.method.startScan, { shareName: own.word, mode: ScanMode.PARTIAL });
    const stream = admin.clientStream(ScanService.method.pushScan);
    own.runningScanId = String(scan?.scanId);
    await stream.send({ message: { case: "open", value: { scanId: scan?.scanId as bigint, writer: own.word } } });
    await stream.send({ message: { case: "chunk", value: chunk(0, [listing(`/${own.word} new`, [file("")])]) } });
    this.#nextChunkNo = (await stream.finish()).nextChunkNo;
  }

  async memory(): Promise<{ heap: number; resident: number }> {
    const metrics = await (await fetch(`${this.httpUrl}/metrics`)).text();
    const heap = Number(/^nodejs_heap_size_used_bytes (\S+)$/m.exec(metrics)?.[1]);
    const status = fs.readFileSync(`/proc/${this.server.pid}/status`, "utf8");
    return { heap, resident: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024 };
  }

  async assertServing(): Promise<void> {
    expect(errorsIn(this.server.output()), "what the server logged as an error").toEqual([]);
    expect((await fetch(`${this.httpUrl}/readyz`)).status).toBe(200);
    for (const gauge of ["frostline_open_streams", "frostline_open_calls"])
      await expect.poll(() => this.#gauge(gauge), { timeout: 10_000, message: gauge }).toBe(0);
  }

  async assertSound(): Promise<void> {
    await this.assertServing();
    await expectNothingLeft(this.database, { served: true });
    await this.#serveWell();
    const pools = createPools(this.database.runtimeUrl, { queryPoolMax: 1, ingestPoolMax: 1, onIdleError: () => {} });
    const violations = [];
    for await (const violation of verify(pools.query)) if (violation.invariant !== asFurnished) violations.push(violation);
    await pools.end();
    expect(violations).toEqual([]);
  }

  /** Of a tenant of its own: the other may have set itself any limit. */
  async #serveWell(): Promise<void> {
    const tenant = await createTestTenant(this.database);
    const admin = createClient({ server: this.server.address, key: tenant.keys.admin });
    await admin.unary(ShareService.method.createShare, { shareName: "well", sourceType: SourceType.LUCIDLINK });
    const { scan } = await admin.unary(ScanService.method.startScan, { shareName: "well", mode: ScanMode.FULL });
    const scanId = scan?.scanId as bigint;
    const stream = admin.clientStream(ScanService.method.pushScan);
    await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
    await stream.send({ message: { case: "chunk", value: chunk(0, [listing("/", [file("good")])]) } });
    await stream.finish();
    expect(await admin.unary(ScanService.method.finishScan, { scanId, chunks: { main: 1n } })).toMatchObject({
      scan: { counts: { added: 1n } },
    });
    admin.close();
  }

  /** Of all its lines. */
  async #gauge(name: string): Promise<number> {
    const metrics = await (await fetch(`${this.httpUrl}/metrics`)).text();
    const lines = [...metrics.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))];
    return lines.reduce((sum, [, value]) => sum + Number(value), 0);
  }
}

/** Lines of the log from error on, and what is no line of the log: a trace of Node's. */
function errorsIn(output: string): string[] {
  return output
    .split("\n")
    .filter((line) => line !== "" && !/^(Listening on|Probes and metrics are on|\{"level":[1-4]0,)/.test(line))
    .slice(0, 10);
}
