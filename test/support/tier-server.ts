/** A server with a share of files whose tier objects a test puts into any state. */

import pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { type Client, createClient } from "../../src/agent/client.js";
import { startTestServer, type TestServer } from "./server.js";
import type { Scope } from "./tenant.js";

export type { Scope } from "./tenant.js";

export interface ObjectOptions {
  state: string;
  wanted: string | null;
  leaseToken?: string;
  /** From now on; null: no lease. */
  leaseSeconds?: number | null;
  objectUri?: string | null;
}

export interface TierServer {
  server: TestServer;
  agent: Client;
  operator: Client;
  /** A client with a connection of its own; close it. */
  client(scope: Scope): Client;
  look<Row extends Record<string, unknown>>(sql: string, values?: unknown[]): Promise<Row[]>;
  /** Files of 1,000 bytes with an object each; returns the objects' ids. */
  insert(count: number, options: ObjectOptions): Promise<bigint[]>;
  /** A file without an object, in the root; returns its name. */
  insertFile(): Promise<string>;
}

/** Call it at the top of a test file. The share is named `films`. */
export function withTierServer(): TierServer {
  const tier = {} as TierServer;
  let superuser: pg.Client | undefined;
  let shareId = 0n;
  let scanId = 0n;
  let files = 0;
  const insertFiles = async (count: number) => {
    const first = files + 1;
    files += count;
    await tier.look(
      `INSERT INTO file_current (tenant_id, file_current_id, share_id, dir_id, name, size_bytes, mtime_unix, atime_unix, scanned_atime_unix, ctime_unix, first_seen_scan_id)
       SELECT $1, n, $2, 1, 'f' || n, 1000, 1600000000, 1600000000, 1600000000, 1600000000, $5 FROM generate_series($3::bigint, $4::bigint) n`,
      [tier.server.tenantId, shareId, first, files, scanId],
    );
    return first;
  };
  beforeAll(async () => {
    tier.server = await startTestServer();
    tier.client = (scope) => createClient({ server: tier.server.address, key: tier.server.keys[scope] });
    tier.agent = tier.client("agent");
    tier.operator = tier.client("operator");
    superuser = new pg.Client({ connectionString: tier.server.database.superuserUrl });
    await superuser.connect();
    tier.look = async (sql, values = []) => (await (superuser as pg.Client).query(sql, values)).rows as never;
    const [share] = await tier.look<{ share_id: string }>(
      "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, 'films', 'LucidLink', true) RETURNING share_id",
      [tier.server.tenantId],
    );
    shareId = BigInt(share?.share_id ?? 0);
    const [scan] = await tier.look<{ scan_id: string }>(
      "INSERT INTO scan (tenant_id, share_id, src_type, mode, status, brake_limit) VALUES ($1, $2, 'LucidLink', 'FULL', 'OK', 0) RETURNING scan_id",
      [tier.server.tenantId, shareId],
    );
    scanId = BigInt(scan?.scan_id ?? 0);
    await tier.look(
      "INSERT INTO dir (tenant_id, dir_id, share_id, path_digest, dir_path) VALUES ($1, 1, $2, left(encode(sha256('/'), 'hex'), 32)::uuid, '/')",
      [tier.server.tenantId, shareId],
    );
  });
  afterAll(async () => {
    tier.agent?.close();
    tier.operator?.close();
    await superuser?.end();
    await tier.server?.close();
  });
  tier.insert = async (count, { state, wanted, leaseToken, leaseSeconds, objectUri }) => {
    const first = await insertFiles(count);
    const rows = await tier.look<{ tier_id: string }>(
      `INSERT INTO tier_object (tenant_id, share_id, file_current_id, target_uri, state, wanted_action, planned_by, planned_size_bytes, planned_mtime_unix,
         lease_token, lease_until_utc, lease_holder, object_uri, stub_size_bytes, stub_mtime_unix)
       SELECT $1, $2, n, 'file:///cold', $5, $6, 'test', 1000, 1600000000, $7, now() + make_interval(secs => $8::integer), CASE WHEN $8::integer IS NOT NULL THEN 'test mover' END,
         $9, CASE WHEN $5 = 'STUBBED' THEN 120 END, CASE WHEN $5 = 'STUBBED' THEN 1600000000 END
       FROM generate_series($3::bigint, $4::bigint) n ORDER BY n RETURNING tier_id`,
      [tier.server.tenantId, shareId, first, first + count - 1, state, wanted, leaseToken ?? null, leaseSeconds ?? null, objectUri ?? null],
    );
    return rows.map(({ tier_id }) => BigInt(tier_id));
  };
  tier.insertFile = async () => `f${await insertFiles(1)}`;
  return tier;
}
