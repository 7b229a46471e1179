import { PassThrough, Writable } from "node:stream";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { FileInfoSchema } from "../gen/frostline/v1/file_pb.js";
import { OutputClosed } from "./errors.js";
import { createOutput } from "./output.js";

test("a line of JSON has every field, int64 as text, and no control character", async () => {
  const stdout = new PassThrough();
  const output = createOutput(stdout, new PassThrough(), true);
  await output.printMessages(FileInfoSchema, [
    create(FileInfoSchema, { path: "/a\n\x9b2J\u202eb", sizeBytes: 2n ** 63n - 1n, frn: 2n ** 64n - 1n }),
  ]);
  const text = String(stdout.read());
  expect(text).not.toMatch(/[\p{Cc}\u202e]./u);
  expect(JSON.parse(text)).toEqual({
    fileId: "0",
    path: "/a\n\x9b2J\u202eb",
    sizeBytes: "9223372036854775807",
    frn: "18446744073709551615",
    fileHash: "",
    fileExtension: "",
    lastAccessedSource: "",
    metadataComplete: false,
  });
});

test("a slow reader holds the writer back", async () => {
  const stdout = new PassThrough({ highWaterMark: 16 });
  const output = createOutput(stdout, new PassThrough(), false);
  let printed = false;
  const printing = output.print(["x".repeat(1000)]).then(() => {
    printed = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(printed).toBe(false);
  stdout.resume();
  await printing;
});

test("a reader that has gone ends the command quietly; any other failure is an error", async () => {
  for (const [code, expected] of [
    ["EPIPE", OutputClosed],
    ["ENOSPC", /ENOSPC/],
  ] as const) {
    const broken = new Writable({ highWaterMark: 1, write: (_chunk, _encoding, done) => done(Object.assign(new Error(code), { code })) });
    const output = createOutput(broken, new PassThrough(), false);
    const closed = new Promise((resolve) => broken.once("close", resolve));
    await expect(output.print(["a"])).rejects.toThrow(expected);
    await closed;
    await expect(output.print(["b"])).rejects.toThrow(expected);
  }
});
