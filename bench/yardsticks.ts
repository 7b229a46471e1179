/**
 * What Frostline is measured against, on the same server and settings and in the same run:
 *
 * - raw COPY: the rows of a scan in the columns of the original proposal's staging table, as text encoded beforehand,
 *   into a logged table without indexes, committed. Nothing loads them faster in one stream without storing something else.
 * - seed: the proposal's schema with all its keys and indexes (seed-schema.sql), and the plain statements that its data flow
 *   asks for (seed-scan.sql), after the same COPY.
 */
import * as fs from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { syntheticDirectories } from "./synthetic.js";

const tenantId = "00000000-0000-4000-8000-000000000001";
const bufferBytes = 128 * 1024;
const stagingColumns = "(tenant_id, scan_id, dir_path, name, size_bytes, atime_unix, mtime_unix, ctime_unix)";

/** The rows of one scan as COPY text, in buffers of 128 KiB. */
function encodeRows(files: number, scanId: number): Buffer[] {
  const buffers: Buffer[] = [];
  let lines: string[] = [];
  let bytes = 0;
  for (const { dirPath, files: own } of syntheticDirectories({ files })) {
    for (const file of own) {
      const line = `${tenantId}\t${scanId}\t${dirPath.replaceAll("/", "\\\\")}\t${file.name}\t${file.sizeBytes}\t${file.atimeUnix}\t${file.mtimeUnix}\t${file.ctimeUnix}\n`;
      lines.push(line);
      bytes += line.length;
      if (bytes < bufferBytes) continue;
      buffers.push(Buffer.from(lines.join("")));
      lines = [];
      bytes = 0;
    }
  }
  return [...buffers, Buffer.from(lines.join(""))];
}

/** COPY of `files` rows, measured again and again through a run of the bench: a machine that others share is not as fast at its end as it was. */
export class RawCopy {
  /** Of each measurement. */
  readonly seconds: number[] = [];
  readonly #url: string;
  readonly #files: number;
  #rows: Buffer[] | undefined;

  constructor(url: string, files: number) {
    this.#url = url;
    this.#files = files;
  }

  /** Into a fresh table. The first warms up and is not counted. */
  async measure(): Promise<void> {
    if (this.seconds.length === 0) await this.#once();
    this.seconds.push(await this.#once());
  }

  async #once(): Promise<number> {
    this.#rows ??= encodeRows(this.#files, 1);
    const rows = this.#rows;
    return withClient(this.#url, async (client) => {
      await client.query(`DROP TABLE IF EXISTS raw_copy; CREATE TABLE raw_copy (tenant_id uuid NOT NULL, scan_id bigint NOT NULL, dir_path text NOT NULL, name text NOT NULL,
        size_bytes bigint NOT NULL, atime_unix integer NOT NULL, mtime_unix integer NOT NULL, ctime_unix integer NOT NULL, file_hash text, file_extension text)`);
      await client.query("CHECKPOINT");
      const seconds = await timed(() => copy(client, "raw_copy", rows));
      await client.query("DROP TABLE raw_copy");
      return seconds;
    });
  }
}

/** Seconds of the first scan and of a rescan in which nothing changed, by the proposal's own statements. */
export async function seedSeconds(url: string, files: number): Promise<{ firstScan: number; rescan: number }> {
  const schema = await fs.readFile(new URL("seed-schema.sql", import.meta.url), "utf8");
  const statements = await fs.readFile(new URL("seed-scan.sql", import.meta.url), "utf8");
  return withClient(url, async (client) => {
    await client.query(`DROP SCHEMA IF EXISTS seed CASCADE; CREATE SCHEMA seed; SET search_path = seed; ${schema}`);
    await client.query("INSERT INTO tenant (tenant_id, code, name, kms_ref, encrypted_dek) VALUES ($1, 'bench', 'bench', '', '')", [
      tenantId,
    ]);
    const scan = async (scanId: number) => {
      const rows = encodeRows(files, scanId);
      await client.query("INSERT INTO scan VALUES ($1, $2, 'share', now(), NULL, 'NTFS', 'OK')", [scanId, tenantId]);
      await client.query("CHECKPOINT");
      return timed(async () => {
        await client.query("BEGIN");
        await copy(client, "staging_file", rows);
        await client.query(
          statements.replaceAll("$tenant", `'${tenantId}'`).replaceAll("$scan", String(scanId)).replaceAll("$share", "'share'"),
        );
        await client.query("COMMIT");
      });
    };
    const seconds = { firstScan: await scan(1), rescan: await scan(2) };
    await client.query("DROP SCHEMA seed CASCADE");
    return seconds;
  });
}

async function copy(client: pg.Client, table: string, rows: Buffer[]): Promise<void> {
  await pipeline(Readable.from(rows, { objectMode: false }), client.query(copyFrom(`COPY ${table} ${stagingColumns} FROM STDIN`)));
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
