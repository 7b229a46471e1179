import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readClientTls, resolveConnection } from "./connection.js";
import { UsageError } from "./errors.js";

const keys = { server: "127.0.0.1:4711", admin: "fl_a", operator: "fl_o", agent: "fl_g", reader: "fl_r" };
let data: string;

beforeAll(async () => {
  data = await fs.mkdtemp(path.join(os.tmpdir(), "frostline-connection-"));
  await fs.writeFile(path.join(data, "keys.json"), JSON.stringify(keys));
});
afterAll(() => fs.rm(data, { recursive: true }));

test("the local server's address and the key of the scope, unless others are given", async () => {
  expect(await resolveConnection({ data }, "reader")).toEqual({ server: keys.server, key: "fl_r" });
  expect(await resolveConnection({ data, server: keys.server }, "agent")).toEqual({ server: keys.server, key: "fl_g" });
  expect(await resolveConnection({ data, key: "fl_x" }, "agent")).toEqual({ server: keys.server, key: "fl_x" });
  const given = { server: "far:1", key: "fl_x" };
  expect(await resolveConnection({ data: path.join(data, "none"), ...given }, "admin")).toEqual(given);
  expect(await resolveConnection({ data: path.join(data, "none"), key: "fl_x" }, "admin")).toEqual({
    server: "127.0.0.1:50051",
    key: "fl_x",
  });
});

test("a local key never goes to another server", async () => {
  await expect(resolveConnection({ data, server: "far:1" }, "reader")).rejects.toThrow(UsageError);
  await expect(resolveConnection({ data, server: `${keys.server},far:1` }, "reader")).rejects.toThrow(UsageError);
});

test("without any key the message names the file and what to do", async () => {
  const none = path.join(data, "none");
  await expect(resolveConnection({ data: none }, "reader")).rejects.toThrow(`writes ${path.join(none, "keys.json")}`);
  await fs.mkdir(none);
  await fs.writeFile(path.join(none, "keys.json"), "{");
  await expect(resolveConnection({ data: none }, "reader")).rejects.toThrow("is not JSON");
});

test("addresses that are none, or with TLS only in part, are told as wrong usage", async () => {
  for (const server of ["a:1,", "https://a:1,b:2"]) await expect(readClientTls({ data }, server)).rejects.toThrow(UsageError);
  expect(await readClientTls({ data }, "a:1,b:2")).toEqual({});
});
