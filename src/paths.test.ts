import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { joinPath, parseSharePath, pathDigest, renderPath, splitPath } from "./paths.js";

test("the digest is the head of SHA-256, written as a uuid", () => {
  const hex = createHash("sha256").update("/Ä/b").digest("hex");
  expect(pathDigest("/Ä/b", true).replaceAll("-", "")).toBe(hex.slice(0, 32));
  expect(pathDigest("/Ä/b", true)).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
});

test("case counts only on a case-sensitive share", () => {
  expect(pathDigest("/Shows/É", false)).toBe(pathDigest("/sHOWS/é", false));
  expect(pathDigest("/Shows", true)).not.toBe(pathDigest("/shows", true));
});

test("backslash separates on Windows sources and is a character on LucidLink", () => {
  expect(parseSharePath("NTFS", "\\a\\b c\\")).toBe("/a/b c");
  expect(parseSharePath("SMB", "a\\b/c")).toBe("/a/b/c");
  expect(parseSharePath("LucidLink", "/a\\b/c")).toBe("/a\\b/c");
  expect(renderPath("NTFS", "/a/b", "c")).toBe("\\a\\b\\c");
  expect(renderPath("SMB", "/", "c")).toBe("\\c");
  expect(renderPath("LucidLink", "/a\\b", "c\\d")).toBe("/a\\b/c\\d");
});

test.each(["", "/", "//", "\\"])("%j is the root of a Windows share", (path) => {
  expect(parseSharePath("SMB", path)).toBe("/");
});

test.each(["/a/../b", "/./a", "..\\a", "/a\0b"])("%j is refused", (path) => {
  expect(() => parseSharePath("NTFS", path)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "BAD_PATH" }));
});

test("split undoes join", () => {
  expect(splitPath(joinPath("/", "x"))).toEqual({ dirPath: "/", name: "x" });
  expect(splitPath(joinPath("/a/b", "x"))).toEqual({ dirPath: "/a/b", name: "x" });
  expect(splitPath("/")).toBeUndefined();
});
