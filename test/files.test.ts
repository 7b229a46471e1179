/** FileService over the wire: lists, filters, look-ups, and rows as messages. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Client, createClient } from "../src/agent/client.js";
import { FileChange, type FileInfo, FileService } from "../src/gen/frostline/v1/file_pb.js";
import { pathDigest, splitPath } from "../src/paths.js";
import { withClient } from "./support/postgres.js";
import { startTestServer, type TestServer } from "./support/server.js";
import { createTestTenant } from "./support/tenant.js";

const { listFiles, getFile, streamSnapshot, streamDiff } = FileService.method;

let server: TestServer;
let reader: Client;
/** Of the share `ntfs`, the older and the newer. */
let scanIds: [bigint, bigint];

beforeAll(async () => {
  server = await startTestServer();
  reader = createClient({ server: server.address, key: server.keys.reader });
  scanIds = await fill(server);
});
afterAll(async () => {
  reader?.close();
  await server?.close();
});

/** Normalised path -> size; atime is the size too. */
const ntfsFiles: [string, number][] = [
  ["/Readme.TXT", 10],
  ["/Shows/Élan — 東京.mov", 20],
  ["/Shows/Kiki_100%.mov", 30],
  ["/Shows/S1/a.mov", 40],
  ["/Shows/S1/B.mxf", 50],
  ["/Showsx/c.mov", 60],
];

/** Three shares: `ntfs` with the files above and two scans, `lucid` with names that differ in case, `many` with 25 files. */
async function fill({ database, tenantId }: TestServer): Promise<[bigint, bigint]> {
  return withClient(database.superuserUrl, async (client) => {
    let nextId = 1;
    const addShare = async (shareId: number, name: string, type: string, caseSensitive: boolean, files: [string, number][]) => {
      await client.query("INSERT INTO share (tenant_id, share_id, share_name, src_type, case_sensitive) VALUES ($1, $2, $3, $4, $5)", [
        tenantId,
        shareId,
        name,
        type,
        caseSensitive,
      ]);
      const dirIds = new Map<string, number>();
      const addDir = async (dirPath: string): Promise<number> => {
        const known = dirIds.get(dirPath);
        if (known !== undefined) return known;
        const parent = splitPath(dirPath);
        const parentId = parent === undefined ? null : await addDir(parent.dirPath);
        const dirId = nextId++;
        dirIds.set(dirPath, dirId);
        await client.query(
          "INSERT INTO dir (tenant_id, dir_id, share_id, parent_dir_id, path_digest, dir_path) VALUES ($1, $2, $3, $4, $5, $6)",
          [tenantId, dirId, shareId, parentId, pathDigest(dirPath, caseSensitive), dirPath],
        );
        return dirId;
      };
      for (const [path, size] of files) {
        const { dirPath, name } = splitPath(path) as { dirPath: string; name: string };
        await client.query(
          `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, file_extension, size_bytes, atime_unix, mtime_unix, frn, file_hash)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $7, -$7::bigint, -1, '\\x00ff')`,
          [tenantId, nextId++, shareId, await addDir(dirPath), name, name.split(".").at(-1)?.toLowerCase(), size],
        );
      }
    };
    await addShare(1, "ntfs", "NTFS", false, ntfsFiles);
    await addShare(2, "lucid", "LucidLink", true, [
      ["/a/x", 1],
      ["/a/X", 2],
      ["/a/back\\slash", 3],
    ]);
    await addShare(
      3,
      "many",
      "SMB",
      false,
      Array.from({ length: 25 }, (_, n) => [`/d${n % 3}/${n}`, n]),
    );
    await client.query("UPDATE file_current SET missing_since_scan_id = 7 WHERE name = 'c.mov'");
    await client.query(
      `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, metadata_complete)
       SELECT tenant_id, 900, share_id, dir_id, 'from event', false FROM dir WHERE dir_path = '/' AND share_id = 1`,
    );
    await client.query(
      "INSERT INTO scan (tenant_id, scan_id, share_id, src_type, mode, status, brake_limit) SELECT $1, v, 1, 'NTFS', 'FULL', 'OK', 0 FROM generate_series(7, 8) v",
      [tenantId],
    );
    await client.query(
      `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, file_current_id, size_bytes, mtime_unix, frn)
       SELECT tenant_id, share_id, dir_id, name, 7, 'A', file_current_id, size_bytes, mtime_unix, frn FROM file_current WHERE share_id = 1
       UNION ALL SELECT tenant_id, share_id, dir_id, name, 8, 'R', file_current_id, size_bytes, mtime_unix, frn FROM file_current WHERE name = 'c.mov'`,
    );
    return [7n, 8n];
  });
}

async function paths(filter: Record<string, unknown>, shareName = "ntfs"): Promise<string[]> {
  const { files } = await reader.unary(listFiles, { shareName, filter });
  return files.map(({ path }) => path).sort();
}

test("a file comes as its message, in the share's own style", async () => {
  const { file } = await reader.unary(getFile, { shareName: "ntfs", path: "\\Shows\\S1\\a.mov" });
  expect(file).toMatchObject({
    path: "\\Shows\\S1\\a.mov",
    sizeBytes: 40n,
    atimeUnix: 40n,
    mtimeUnix: -40n,
    frn: 2n ** 64n - 1n,
    fileHash: Buffer.from([0, 255]),
    fileExtension: "mov",
    lastAccessedSource: "initial_scan",
    metadataComplete: true,
  } satisfies Partial<FileInfo>);
  for (const absent of ["allocatedBytes", "ctimeUnix", "linkCount", "owner", "missingSinceScanId"] as const)
    expect(file?.[absent]).toBeUndefined();
  const { file: unknown } = await reader.unary(getFile, { shareName: "ntfs", path: "from event" });
  expect(unknown).toMatchObject({ metadataComplete: false });
  expect(unknown?.sizeBytes).toBeUndefined();
});

test.each(["/readme.txt", "\\SHOWS\\élan — 東京.MOV", "shows/KIKI_100%.mov", "/Shows//S1/b.MXF"])(
  "case does not count on ntfs: %s",
  async (path) => {
    const { file } = await reader.unary(getFile, { shareName: "ntfs", path });
    expect(file?.path.toLowerCase()).toBe(`\\${path}`.replaceAll("/", "\\").replaceAll(/\\+/g, "\\").toLowerCase());
  },
);

test.each(["/Shows/Kiki_1000.mov", "/Shows/KikiX100%.mov", "/Shows", "/", "/Nowhere/a.mov", "/Showsx/c.mov"])(
  "ntfs has no file %s",
  async (path) => {
    await expect(reader.unary(getFile, { shareName: "ntfs", path })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "FILE_NOT_FOUND" });
  },
);

test("case and backslashes count on LucidLink", async () => {
  const size = async (path: string) => (await reader.unary(getFile, { shareName: "lucid", path })).file?.sizeBytes;
  expect([await size("/a/x"), await size("/a/X"), await size("/a/back\\slash")]).toEqual([1n, 2n, 3n]);
  await expect(size("/A/x")).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("every filter cuts what it says", async () => {
  const all = ntfsFiles.map(([path]) => path.replaceAll("/", "\\"));
  const live = [...all.slice(0, 5), "\\from event"].sort();
  expect(await paths({})).toEqual(live);
  expect(await paths({ includeMissing: true })).toEqual([...all, "\\from event"].sort());
  expect(await paths({ dirPath: "\\shows" })).toEqual(all.slice(1, 5).sort());
  expect(await paths({ dirPath: "/Shows/S1/" })).toEqual(all.slice(3, 5).sort());
  expect(await paths({ minSizeBytes: 20n, maxSizeBytes: 30n })).toEqual(all.slice(1, 3).sort());
  expect(await paths({ atimeBeforeUnix: 20n })).toEqual(all.slice(0, 1));
  expect(await paths({ mtimeBeforeUnix: -40n })).toEqual(all.slice(4, 5));
  expect(await paths({ fileExtension: "mov", minSizeBytes: 30n })).toEqual(all.slice(2, 4).sort());
  await expect(paths({ dirPath: "/Nowhere" })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "DIRECTORY_NOT_FOUND" });
  await expect(paths({ dirPath: "/a/../b" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "BAD_PATH" });
  await expect(paths({}, "none")).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SHARE_NOT_FOUND" });
});

test("pages add up to the whole, each file once", async () => {
  const seen: string[] = [];
  let pages = 0;
  for (let pageToken = ""; ; pages++) {
    const page = await reader.unary(listFiles, { shareName: "many", pageSize: 7, pageToken });
    seen.push(...page.files.map(({ path }) => path));
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  expect(pages).toBe(3);
  expect(seen).toHaveLength(25);
  expect(new Set(seen).size).toBe(25);
});

test("bad pages are refused", async () => {
  const page = (request: object) => reader.unary(listFiles, { shareName: "many", ...request });
  await expect(page({ pageToken: "bogus" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "BAD_PAGE_TOKEN" });
  await expect(page({ pageSize: -1 })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "INVALID_FIELD" });
});

test("snapshot and difference are streamed as messages", async () => {
  const files: FileInfo[] = [];
  for await (const message of reader.serverStream(streamSnapshot, { scanId: scanIds[0] })) files.push(...message.files);
  expect(files.map(({ path }) => path).sort()).toEqual([...ntfsFiles.map(([path]) => path.replaceAll("/", "\\")), "\\from event"].sort());
  expect(files.find(({ path }) => path === "\\Readme.TXT")).toMatchObject({ sizeBytes: 10n, fileExtension: "txt", frn: 2n ** 64n - 1n });
  const differences = [];
  for await (const message of reader.serverStream(streamDiff, { fromScanId: scanIds[0], toScanId: scanIds[1] }))
    differences.push(...message.differences);
  expect(differences).toMatchObject([{ change: FileChange.REMOVED, file: { path: "\\Showsx\\c.mov", sizeBytes: 60n } }]);
});

test("another tenant sees none of it", async () => {
  const stranger = createClient({ server: server.address, key: (await createTestTenant(server.database)).keys.admin });
  await expect(stranger.unary(listFiles, { shareName: "ntfs" })).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SHARE_NOT_FOUND" });
  const read = async () => {
    for await (const _ of stranger.serverStream(streamSnapshot, { scanId: scanIds[0] })) throw new Error("a message came");
  };
  await expect(read()).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SCAN_NOT_FOUND" });
  stranger.close();
});
