/** Health and reflection, as gRPC's own tools ask for them; and what a stopping server says first. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import * as path from "node:path";
import { promisify } from "node:util";
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient } from "../src/agent/client.js";
import { packageRoot } from "../src/db/embedded.js";
import { ShareService } from "../src/gen/frostline/v1/share_pb.js";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../src/gen/grpc/health/v1/health_pb.js";
import { ServerReflection, type ServerReflectionResponse } from "../src/gen/grpc/reflection/v1/reflection_pb.js";
import { services } from "../src/rpc/routes.js";
import { withClient } from "./support/postgres.js";
import { type LocalServer, spawnServer, startTestServer } from "./support/server.js";

let server: LocalServer;
let anyone: Client;

beforeAll(async () => {
  server = await startTestServer();
  anyone = createClient({ server: server.address, key: "" });
});
afterAll(async () => {
  anyone?.close();
  await server?.close();
});

const check = (service: string, client = anyone) => client.unary(Health.method.check, { service });

/** What a watch tells, one after the other, without the end of the stream. */
function watch(service: string, client = anyone) {
  const told = client.serverStream(Health.method.watch, { service })[Symbol.asyncIterator]();
  return { next: async () => (await told.next()).value?.status as Status, end: () => told.return?.() };
}

test("without a key: the server and each of its services are SERVING, another is not known", async () => {
  for (const service of ["", ...services.map(({ typeName }) => typeName as string)]) {
    expect(await check(service), service).toMatchObject({ status: Status.SERVING });
  }
  await expect(check("frostline.v1.NoService")).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SERVICE_UNKNOWN" });
  const unknown = watch("frostline.v1.NoService");
  expect(await unknown.next()).toBe(Status.SERVICE_UNKNOWN);
  await unknown.end();
});

test("a database that takes no connections turns it NOT_SERVING, and SERVING again when it does", async () => {
  const watched = watch("frostline.v1.ScanService");
  expect(await watched.next()).toBe(Status.SERVING);
  await withClient(server.database.superuserUrl, async (superuser) => {
    const { rows } = await superuser.query<{ name: string }>("SELECT quote_ident(current_database()) AS name");
    const name = rows[0]?.name;
    await superuser.query(`ALTER DATABASE ${name} CONNECTION LIMIT 0`);
    await superuser.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    expect(await watched.next()).toBe(Status.NOT_SERVING);
    expect(await check("")).toMatchObject({ status: Status.NOT_SERVING });
    await superuser.query(`ALTER DATABASE ${name} CONNECTION LIMIT -1`);
    expect(await watched.next()).toBe(Status.SERVING);
  });
  await watched.end();
});

test("a stopping server says NOT_SERVING first, goes on answering for the delay, and is gone in time", async () => {
  const stopping = await spawnServer({ database: server.database, tenant: server, env: { FROSTLINE_STOP_DELAY_SECONDS: "2" } });
  const client = createClient({ server: stopping.address, key: server.keys.reader });
  const watched = watch("", client);
  expect(await watched.next()).toBe(Status.SERVING);
  process.kill(stopping.pid, "SIGTERM");
  expect(await watched.next()).toBe(Status.NOT_SERVING);
  // Nobody has been sent away: an old connection and a new one still have their calls answered.
  await client.unary(ShareService.method.listShares, {});
  const late = createClient({ server: stopping.address, key: "" });
  expect(await check("", late)).toMatchObject({ status: Status.NOT_SERVING });
  await expect(watched.next()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "SERVER_DRAINING" });
  expect(await stopping.exited).toBe(0);
  client.close();
  late.close();
});

/** Asks over one stream and returns the answers. */
async function reflect(address: string, requests: MessageInitShape<typeof ServerReflection.method.serverReflectionInfo.input>[]) {
  const method = ServerReflection.method.serverReflectionInfo;
  const channel = new grpc.Client(address, grpc.credentials.createInsecure());
  const call = channel.makeBidiStreamRequest<(typeof requests)[number], ServerReflectionResponse>(
    `/${ServerReflection.typeName}/${method.name}`,
    (request) => Buffer.from(toBinary(method.input, create(method.input, request))),
    (bytes) => fromBinary(method.output, bytes),
  );
  for (const request of requests) call.write(request);
  call.end();
  const answers: ServerReflectionResponse["messageResponse"][] = [];
  for await (const message of call) answers.push((message as ServerReflectionResponse).messageResponse);
  channel.close();
  return answers;
}

test("reflection answers by name and by symbol, with all that a file needs, and survives what it does not know", async () => {
  const ask = (value: string) => ({ messageRequest: { case: "fileContainingSymbol" as const, value } });
  const answers = await reflect(server.address, [
    { messageRequest: { case: "listServices", value: "" } },
    { messageRequest: { case: "fileByFilename", value: "frostline/v1/scan.proto" } },
    ask("frostline.v1.ScanService.PushScan"),
    ask("frostline.v1.Scan.scan_id"),
    ask("frostline.v1.SCAN_MODE_FULL"),
    ask("frostline.v1.Nothing"),
    {},
  ]);
  const [list, byName, byMethod, byField, byValue, unknown, nothing] = answers;
  expect(list).toMatchObject({ value: { service: services.map(({ typeName }) => ({ name: typeName })) } });
  if (byName?.case !== "fileDescriptorResponse") throw new Error(`not a file: ${byName?.case}`);
  const names = byName.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
  expect(names.sort()).toEqual(["frostline/v1/scan.proto", "google/protobuf/timestamp.proto"]);
  for (const answer of [byMethod, byField, byValue]) expect(answer).toEqual(byName);
  expect(unknown).toMatchObject({ case: "errorResponse", value: { errorCode: 5 } });
  expect(nothing).toMatchObject({ case: "errorResponse", value: { errorCode: 3 } });
});

test("a tool that keeps a reflection stream open does not hold up a stop", async () => {
  const other = await startTestServer({ database: server.database, tenant: server });
  const channel = new grpc.Client(other.address, grpc.credentials.createInsecure());
  const method = ServerReflection.method.serverReflectionInfo;
  const call = channel.makeBidiStreamRequest(
    `/${ServerReflection.typeName}/${method.name}`,
    () => Buffer.from(toBinary(method.input, create(method.input, { messageRequest: { case: "listServices", value: "" } }))),
    (bytes) => bytes,
  );
  const ended = once(call, "error");
  call.write({});
  await once(call, "data");
  const startMs = performance.now();
  await other.close();
  expect(performance.now() - startMs).toBeLessThan(5_000);
  expect((await ended)[0]).toMatchObject({ code: grpc.status.UNAVAILABLE });
  channel.close();
});

test("buf curl finds the contract by itself, and calls by it", async () => {
  const buf = path.join(packageRoot, "node_modules", ".bin", "buf");
  const curl = (url: string, ...options: string[]) =>
    promisify(execFile)(buf, ["curl", "--protocol", "grpc", "--http2-prior-knowledge", ...options, `http://${server.address}${url}`], {
      env: { ...process.env, BUF_CACHE_DIR: "/nonexistent" },
    });
  expect((await curl("", "--list-methods")).stdout).toContain("frostline.v1.ScanService/PushScan");
  const header = ["--header", `Authorization: Bearer ${server.keys.reader}`];
  const { stdout } = await curl("/frostline.v1.ShareService/ListShares", ...header, "--data", "{}");
  expect(JSON.parse(stdout)).toEqual({});
});
