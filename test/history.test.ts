/** Snapshots and differences against a model in memory, on the newest and the oldest PostgreSQL. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { migrate } from "../src/db/migrate.js";
import { createPools, type Pools } from "../src/db/pool.js";
import { inTenant } from "../src/db/tenant.js";
import { streamDiff } from "../src/history/diff.js";
import { streamSnapshot } from "../src/history/snapshot.js";
import { pathDigest } from "../src/paths.js";
import type { Cluster, RunningCluster } from "./support/cluster.js";
import { createEmptyDatabase, missingPostgres14, postgres14, type TestDatabase } from "./support/postgres.js";
import { type Random, seededRandom } from "./support/random.js";
import { createTestTenant } from "./support/tenant.js";

const never = new AbortController().signal;

describe("on the run's PostgreSQL", () => {
  historyTests(() => inject("cluster"));
});

describe.skipIf(missingPostgres14())("on PostgreSQL 14", () => {
  let running: RunningCluster;
  beforeAll(async () => {
    running = await postgres14();
  });
  afterAll(() => running.stop());
  historyTests(() => running.cluster);
});

function historyTests(cluster: () => Cluster): void {
  let database: TestDatabase;
  let pools: Pools;
  let tenantId: string;

  beforeAll(async () => {
    database = await createEmptyDatabase(cluster());
    await migrate(database.ownerUrl);
    pools = createPools(database.runtimeUrl, { queryPoolMax: 3, ingestPoolMax: 1, onIdleError: () => {} });
    ({ tenantId } = await createTestTenant(database));
  });
  afterAll(async () => {
    await pools?.end();
    await database?.drop();
  });

  test("every snapshot and every difference is what a model says", async () => {
    const history = new ModelHistory(seededRandom());
    const share = await makeShare(history.dirs);
    const scanIds: bigint[] = [];
    for (let n = 0; n < 8; n++) scanIds.push(await addScan(share, history.next()));
    for (const [n, scanId] of scanIds.entries()) expect(await snapshot(scanId)).toEqual(history.snapshots[n]);
    for (const [b, to] of scanIds.entries()) {
      for (const [a, from] of scanIds.slice(0, b + 1).entries()) expect(await diff(from, to)).toEqual(history.difference(a, b));
    }
  });

  test("the functions are inlined, and read one partition", async () => {
    for (const call of ["scan_snapshot($1, 1, 2)", "scan_diff($1, 1, 2, 3)"]) {
      const { rows } = await inTenant(pools.query, tenantId, (client) =>
        client.query(`EXPLAIN (FORMAT JSON) SELECT * FROM ${call}`, [tenantId]),
      );
      const plan = JSON.stringify(rows);
      expect(plan).not.toContain("Function Scan");
      expect(new Set(plan.match(/"file_p\d+"/g))).toHaveLength(1);
    }
  });

  test("what cannot be read says why", async () => {
    const [one, other] = [await makeShare(["/"]), await makeShare(["/"])];
    const [first, second, elsewhere] = [await addScan(one, []), await addScan(one, []), await addScan(other, [])];
    await expect(diff(first, elsewhere)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "DIFFERENT_SHARES" });
    await expect(diff(second, first)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", reason: "WRONG_ORDER" });
    await expect(snapshot(10n ** 12n)).rejects.toMatchObject({ code: "NOT_FOUND", reason: "SCAN_NOT_FOUND" });
    await setScan(second, "status = 'RUNNING'");
    await expect(snapshot(second)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "SCAN_RUNNING" });
    await setScan(first, "history_purged_utc = now()");
    await expect(snapshot(first)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "HISTORY_PURGED" });
  });

  test("a reader that leaves early, or is told to stop, gives its connection back", async () => {
    const scanId = await addScan(await makeShare(["/"]), manyFiles(5000));
    for (let n = 0; n < 5; n++) {
      for await (const rows of streamSnapshot(pools.query, tenantId, scanId, never)) {
        expect(rows.length).toBe(2000);
        break;
      }
    }
    const abort = new AbortController();
    const read = async () => {
      for await (const _ of streamSnapshot(pools.query, tenantId, scanId, abort.signal)) abort.abort(new Error("enough"));
    };
    await expect(read()).rejects.toThrow("enough");
    expect(pools.query.idleCount).toBe(pools.query.totalCount);
  });

  test("a connection that is lost between two batches makes the stream UNAVAILABLE", async () => {
    const scanId = await addScan(await makeShare(["/"]), manyFiles(5000));
    const read = async () => {
      for await (const _ of streamSnapshot(pools.query, tenantId, scanId, never)) {
        await pools.ingest.query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'frostline' AND state = 'idle in transaction'",
        );
      }
    };
    await expect(read()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "DATABASE_UNAVAILABLE" });
  });

  /** A share whose directories all exist. */
  async function makeShare(dirs: readonly string[]): Promise<{ shareId: bigint; dirIds: Map<string, bigint> }> {
    return inTenant(pools.query, tenantId, async (client) => {
      const { rows } = await client.query<{ share_id: bigint }>(
        "INSERT INTO share (tenant_id, share_name, src_type, case_sensitive) VALUES ($1, $2, 'LucidLink', true) RETURNING share_id",
        [tenantId, randomUUID()],
      );
      const shareId = rows[0]?.share_id as bigint;
      const dirIds = new Map(dirs.map((dir, n) => [dir, shareId * 1000n + BigInt(n)]));
      for (const [dir, dirId] of dirIds) {
        await client.query("INSERT INTO dir (tenant_id, dir_id, share_id, path_digest, dir_path) VALUES ($1, $2, $3, $4, $5)", [
          tenantId,
          dirId,
          shareId,
          pathDigest(dir, true),
          dir,
        ]);
      }
      return { shareId, dirIds };
    });
  }

  /** A completed scan that recorded these versions. */
  async function addScan({ shareId, dirIds }: { shareId: bigint; dirIds: Map<string, bigint> }, versions: Version[]): Promise<bigint> {
    return inTenant(pools.query, tenantId, async (client) => {
      const { rows } = await client.query<{ scan_id: bigint }>(
        "INSERT INTO scan (tenant_id, share_id, src_type, mode, status, brake_limit) VALUES ($1, $2, 'LucidLink', 'FULL', 'OK', 0) RETURNING scan_id",
        [tenantId, shareId],
      );
      const scanId = rows[0]?.scan_id as bigint;
      await client.query(
        `INSERT INTO file (tenant_id, share_id, dir_id, name, scan_id, change, file_current_id, size_bytes, mtime_unix, frn)
         SELECT $1, $2, v.dir_id, v.name, $3, v.change::"char", 1, v.size, v.mtime, v.frn
         FROM unnest($4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[]) AS v (dir_id, name, change, size, mtime, frn)`,
        [
          tenantId,
          shareId,
          scanId,
          versions.map(({ dir }) => dirIds.get(dir)),
          versions.map(({ name }) => name),
          versions.map(({ change }) => change),
          ...[0, 1, 2].map((at) => versions.map(({ values }) => values[at])),
        ],
      );
      return scanId;
    });
  }

  async function setScan(scanId: bigint, assignment: string): Promise<void> {
    await inTenant(pools.query, tenantId, (client) => client.query(`UPDATE scan SET ${assignment} WHERE scan_id = $1`, [scanId]));
  }

  async function snapshot(scanId: bigint): Promise<Map<string, string>> {
    const files = new Map<string, string>();
    for await (const rows of streamSnapshot(pools.query, tenantId, scanId, never)) for (const row of rows) files.set(...keyAndValues(row));
    return files;
  }

  async function diff(from: bigint, to: bigint): Promise<Map<string, string>> {
    const differences = new Map<string, string>();
    for await (const rows of streamDiff(pools.query, tenantId, from, to, never)) {
      for (const row of rows) {
        const [path, values] = keyAndValues(row);
        differences.set(path, `${row.difference} ${values}`);
      }
    }
    return differences;
  }
}

interface Row {
  dir_path: string;
  name: string;
  size_bytes: bigint | null;
  mtime_unix: bigint | null;
  frn: bigint | null;
}

function keyAndValues(row: Row): [string, string] {
  return [`${row.dir_path} ${row.name}`, `${row.size_bytes} ${row.mtime_unix} ${row.frn}`];
}

interface Version {
  dir: string;
  name: string;
  change: "A" | "C" | "R";
  values: (number | null)[];
}

function manyFiles(count: number): Version[] {
  return Array.from({ length: count }, (_, n) => ({ dir: "/", name: `f${n}`, change: "A", values: [1, 1, 1] }));
}

/** What scans would have recorded of a share where anything may happen to any of a few files. */
class ModelHistory {
  readonly dirs = ["/", "/a", "/a/b", "/ä"];
  /** Path -> values, one for each scan. */
  readonly snapshots: Map<string, string>[] = [];
  readonly #random: Random;
  readonly #current = new Map<string, Version>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** The next scan's versions. Few values, so that files change back often. */
  next(): Version[] {
    const versions: Version[] = [];
    for (const dir of this.dirs) {
      for (const name of ["x", "y", "z", "X", "ü"]) {
        const old = this.#current.get(`${dir} ${name}`);
        const values = [this.#random.between(1, 2), this.#random.between(1, 2), this.#random.pick([null, 7])];
        const event = this.#random.pick(["put", "remove", "leave", "leave"]);
        if (event === "put" && String(old?.values) !== String(values)) versions.push({ dir, name, change: old ? "C" : "A", values });
        if (event === "remove" && old) versions.push({ ...old, change: "R" });
      }
    }
    for (const version of versions) {
      if (version.change === "R") this.#current.delete(`${version.dir} ${version.name}`);
      else this.#current.set(`${version.dir} ${version.name}`, version);
    }
    this.snapshots.push(new Map([...this.#current].map(([path, { values }]) => [path, values.join(" ").replace(/ $/, " null")])));
    return versions;
  }

  difference(a: number, b: number): Map<string, string> {
    const [from, to] = [this.snapshots[a] as Map<string, string>, this.snapshots[b] as Map<string, string>];
    const differences = new Map<string, string>();
    for (const [path, values] of to) if (from.get(path) !== values) differences.set(path, `${from.has(path) ? "C" : "A"} ${values}`);
    for (const [path] of from) if (!to.has(path)) differences.set(path, `R ${this.#lastValues(path, b)}`);
    return differences;
  }

  /** What a removed file was when it was last seen. */
  #lastValues(path: string, scan: number): string | undefined {
    for (let n = scan; n >= 0; n--) {
      const values = this.snapshots[n]?.get(path);
      if (values !== undefined) return values;
    }
    return undefined;
  }
}
