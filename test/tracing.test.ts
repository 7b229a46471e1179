/** Spans of a server that was started with an SDK beside it. */
import * as grpc from "@grpc/grpc-js";
import { expect, test } from "vitest";
import { createClient } from "../src/agent/client.js";
import { ScanMode, ScanService } from "../src/gen/frostline/v1/scan_pb.js";
import { ShareService, SourceType } from "../src/gen/frostline/v1/share_pb.js";
import { type SpawnedServer, spawnServer } from "./support/server.js";
import { chunk, file, listing } from "./support/streams.js";

interface SpanLine {
  name: string;
  kind: number;
  attributes: Record<string, unknown>;
  status: { code: number; message?: string };
  traceId: string;
  spanId: string;
  parent?: string;
}

/** As W3C's trace context has them. */
const callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
const callersSpan = "00f067aa0ba902b7";

function spansOf(server: SpawnedServer): SpanLine[] {
  return [...server.output().matchAll(/^SPAN (.*)$/gm)].map(([, json]) => JSON.parse(json as string));
}

test("a call is a span of its caller's trace, with what it does below it; nothing in them is a path", async () => {
  const sdk = new URL("./support/otel.mjs", import.meta.url).href;
  const server = await spawnServer({ env: { NODE_OPTIONS: `--import ${sdk}`, FROSTLINE_LOG_LEVEL: "info" } });
  const client = createClient({ server: server.address, key: server.keys.admin });
  const { method } = ScanService;
  await client.unary(ShareService.method.createShare, { shareName: "films", sourceType: SourceType.LUCIDLINK });
  const { scan } = await client.unary(method.startScan, { shareName: "films", mode: ScanMode.FULL });
  const scanId = scan?.scanId as bigint;
  const stream = client.clientStream(method.pushScan);
  await stream.send({ message: { case: "open", value: { scanId, writer: "main" } } });
  await stream.send({ message: { case: "chunk", value: chunk(0, [listing("/secret-place", [file("secret-file")])]) } });
  await stream.finish();
  await expect(client.unary(ShareService.method.getShare, { shareName: "none" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  client.close();
  await callWithin(server, `00-${callersTrace}-${callersSpan}-01`);

  const span = (name: string) => spansOf(server).find((one) => one.name === name);
  await expect
    .poll(() => span("frostline.v1.ShareService/ListShares"))
    .toMatchObject({
      traceId: callersTrace,
      parent: callersSpan,
      kind: 1,
      attributes: {
        "rpc.system": "grpc",
        "rpc.service": "frostline.v1.ShareService",
        "rpc.method": "ListShares",
        "rpc.grpc.status_code": 0,
        "frostline.tenant_id": server.tenantId,
        "frostline.request_id": "traced-1",
      },
    });
  const push = span("frostline.v1.ScanService/PushScan") as SpanLine;
  expect(span("frostline.segment")).toMatchObject({
    traceId: push.traceId,
    parent: push.spanId,
    attributes: { "frostline.tenant_id": server.tenantId, "frostline.scan_id": String(scanId), "frostline.files": 1 },
  });
  // Somebody else's mistake is no error of the server's.
  expect(span("frostline.v1.ShareService/GetShare")).toMatchObject({ status: { code: 0 }, attributes: { "rpc.grpc.status_code": 5 } });
  await expect
    .poll(() =>
      spansOf(server)
        .filter(({ name }) => name === "frostline.job")
        .map(({ attributes }) => attributes["frostline.job"]),
    )
    .toContain("retention");
  const calls = [...server.output().matchAll(/^\{.*"msg":"call".*\}$/gm)].map(([line]) => JSON.parse(line));
  expect(calls).toContainEqual(expect.objectContaining({ method: "frostline.v1.ScanService/PushScan", traceId: push.traceId }));
  expect(server.output()).not.toMatch(/secret/);
  await server.close();
});

function callWithin(server: SpawnedServer, traceparent: string): Promise<unknown> {
  const channel = new grpc.Client(server.address, grpc.credentials.createInsecure());
  const metadata = new grpc.Metadata();
  metadata.set("authorization", `Bearer ${server.keys.reader}`);
  metadata.set("traceparent", traceparent);
  metadata.set("x-request-id", "traced-1");
  const bytes = (message: Buffer) => message;
  return new Promise((resolve, reject) => {
    channel.makeUnaryRequest("/frostline.v1.ShareService/ListShares", bytes, bytes, Buffer.alloc(0), metadata, (error, answer) => {
      channel.close();
      if (error) reject(error);
      else resolve(answer);
    });
  });
}
