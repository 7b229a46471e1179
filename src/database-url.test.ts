import * as fs from "node:fs";
import * as path from "node:path";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Scratch, scratchDirectory } from "../test/support/scratch.js";
import { withPasswordFile } from "./database-url.js";

const url = "postgres://frostline_runtime@db/frostline";
let scratch: Scratch;

beforeAll(async () => {
  scratch = await scratchDirectory();
});
afterAll(() => scratch?.remove());

function file(text: string): string {
  const name = path.join(scratch.path, "password");
  fs.writeFileSync(name, text);
  return name;
}

test.each(["plain", "p@ss/w:o?r#d%20", " with spaces ", "пароль"])("the password %j arrives as it is", (password) => {
  expect(new pg.Client({ connectionString: withPasswordFile(url, file(`${password}\n`)) }).password).toBe(password);
});

test("a password in the URL is the one that is meant", () => {
  const full = "postgres://frostline_runtime:own@db/frostline";
  expect(withPasswordFile(full, file("other"))).toBe(full);
  expect(withPasswordFile(url, undefined)).toBe(url);
});

test("a file that is not there, or empty, is named", () => {
  expect(() => withPasswordFile(url, "/nowhere")).toThrow(/DATABASE_PASSWORD_FILE: .*\/nowhere/);
  expect(() => withPasswordFile(url, file("\nsecond line"))).toThrow(/first line of .* is empty/);
  expect(() => withPasswordFile("postgres:///frostline?host=/run/postgresql", file("secret"))).toThrow(/must be named/);
});
