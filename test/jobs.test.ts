/** Background jobs of several servers: seen, asked for, broken by hand. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { createClient } from "../src/agent/client.js";
import { createPools, type Pools } from "../src/db/pool.js";
import { type Job, JobService, JobState } from "../src/gen/frostline/v1/job_pb.js";
import { createLogger, type Logger } from "../src/log.js";
import { forEachTenant } from "../src/maintenance/for-each-tenant.js";
import type { JobWorker } from "../src/maintenance/job.js";
import { beginRun, dueJobs, listRuns, requestRun } from "../src/maintenance/job-runs.js";
import { jobNames, jobs } from "../src/maintenance/jobs.js";
import { maintain, runJob } from "../src/maintenance/run.js";
import { frostline, jsonLines } from "./support/command.js";
import { createTestDatabase, type TestDatabase, withClient } from "./support/postgres.js";
import { type LocalServer, startTestServer } from "./support/server.js";
import { createTestTenant, type TestTenant } from "./support/tenant.js";

let database: TestDatabase;
let platform: TestTenant;
let pools: Pools;
beforeAll(async () => {
  database = await createTestDatabase();
  platform = await createTestTenant(database, { isPlatform: true });
  pools = createPools(database.runtimeUrl, { queryPoolMax: 4, ingestPoolMax: 1, onIdleError: () => {} });
});
afterAll(async () => {
  await pools?.end();
  await database?.drop();
});

const look = (sql: string, values: unknown[] = []) =>
  withClient(database.superuserUrl, async (client) => (await client.query(sql, values)).rows);
const job = (name: string) => jobs.find((one) => one.name === name) as (typeof jobs)[number];
const never = new AbortController().signal;
const options = (log: Logger = createLogger("silent")) => ({
  pool: pools.query,
  log,
  auditKeepDays: 7,
  server: "test/1",
  intervalMs: 3_600_000,
  onRun: () => {},
  signal: never,
});

/** A log whose lines are objects. */
function heard(): { log: Logger; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  return { log: createLogger("debug", { destination: { write: (line) => void lines.push(JSON.parse(line)) } }), lines };
}

describe("two servers", () => {
  let servers: LocalServer[];
  beforeAll(async () => {
    const env = { FROSTLINE_MAINTENANCE_SECONDS: "1", FROSTLINE_LOG_LEVEL: "fatal" };
    servers = [await startTestServer({ database, tenant: platform, env }), await startTestServer({ database, tenant: platform, env })];
  });
  afterAll(async () => {
    for (const server of servers ?? []) await server.close();
  });

  async function listJobs(at = 0): Promise<Map<string, Job>> {
    const client = createClient({ server: servers[at]?.address ?? "", key: platform.keys.admin });
    const { jobs: listed } = await client.unary(JobService.method.listJobs, {}).finally(() => client.close());
    return new Map(listed.map((one) => [one.job, one]));
  }
  const until = (condition: (listed: Map<string, Job>) => void) =>
    vi.waitFor(async () => condition(await listJobs()), { timeout: 30_000, interval: 100 });

  test("a job that cannot do its work fails, again and again, while the others go on; mended, it is done", async () => {
    await until((listed) => expect(listed.get("audit_events")?.state).toBe(JobState.DONE));
    await look("REVOKE EXECUTE ON FUNCTION prune_audit_processed(uuid, timestamptz, timestamptz, integer) FROM frostline_runtime");
    await until((listed) => expect(listed.get("audit_events")?.failuresInRow).toBeGreaterThan(1));
    const broken = await listJobs(1);
    expect([...broken.keys()]).toEqual(jobNames);
    const failed = broken.get("audit_events") as Job;
    expect(failed.state).toBe(JobState.FAILED);
    expect(failed.error).toMatch(
      /^failed for 1 of 1 tenants, first for .+: permission denied for function prune_audit_processed \(42501\)$/,
    );
    expect(Number(failed.successTime?.seconds)).toBeLessThanOrEqual(Number(failed.endTime?.seconds));
    const shown = await frostline(["jobs"], { env: { FROSTLINE_SERVER: servers[0]?.address ?? "", FROSTLINE_KEY: platform.keys.admin } });
    expect(shown).toMatchObject({ status: 3, stdout: expect.stringMatching(/audit_events +failed \(\d+ times\)[\s\S]*permission denied/) });

    // The others have run since it failed.
    await until((listed) => {
      for (const name of ["partitions", "tier_objects", "retention"]) {
        expect(listed.get(name)?.state).toBe(JobState.DONE);
        expect(Number(listed.get(name)?.startTime?.seconds)).toBeGreaterThanOrEqual(Number(failed.endTime?.seconds));
      }
    });
    const figures = (await Promise.all(servers.map(({ metrics }) => metrics.read()))).map(({ text }) => text).join("");
    expect(figures).toMatch(/^frostline_job_seconds_count\{job="audit_events",outcome="failed"\} [1-9]/m);

    await look("GRANT EXECUTE ON FUNCTION prune_audit_processed(uuid, timestamptz, timestamptz, integer) TO frostline_runtime");
    await until((listed) => expect(listed.get("audit_events")).toMatchObject({ state: JobState.DONE, failuresInRow: 0, error: "" }));
  });

  test("only admins of the platform see jobs and have them run", async () => {
    const other = await createTestTenant(database);
    const run = (key: string, ...args: string[]) =>
      frostline(["jobs", ...args], { env: { FROSTLINE_SERVER: servers[0]?.address ?? "", FROSTLINE_KEY: key } });
    for (const key of [other.keys.admin, platform.keys.operator]) {
      expect(await run(key)).toMatchObject({ status: 1, stdout: "" });
      expect(await run(key, "run", "retention")).toMatchObject({ status: 1, stdout: "" });
    }
    const asked = await run(platform.keys.admin, "run", "retention", "--json");
    expect(jsonLines(asked.stdout)).toMatchObject([{ job: "retention", runId: expect.stringMatching(/^[0-9a-f-]{36}$/) }]);
    const unknown = await run(platform.keys.admin, "run", "none");
    expect(unknown).toMatchObject({ status: 1, stderr: expect.stringContaining("There are: partitions, erasures,") });
  });
});

describe("what is due", () => {
  const due = (intervalMs = 3_600_000) => dueJobs(pools.query, jobNames, { server: "test/1", intervalMs });
  beforeAll(async () => {
    await look("DELETE FROM background_job");
  });

  test("is everything at first, then nothing until the interval has passed, or a run is asked for", async () => {
    expect(await due()).toEqual(jobNames);
    for (const one of jobs) expect(await runJob(options(), one)).toMatchObject({ done: {} });
    expect(await due()).toEqual([]);
    expect(await runJob(options(), job("retention"))).toBeUndefined();
    expect(await due(0)).toEqual(jobNames);
    await requestRun(pools.query, jobNames, "retention");
    expect(await due()).toEqual(["retention"]);
    await look("UPDATE background_job SET ended_utc = ended_utc - interval '61 minutes', next_due_utc = now() WHERE job = 'partitions'");
    expect(await due()).toEqual(["partitions", "retention"]);
  });

  test("a job that fails has twice as long each time, up to the interval", async () => {
    const failing = { name: "retention", run: () => Promise.reject(new Error("broken")) };
    const waits: number[] = [];
    for (let run = 0; run < 10; run += 1) {
      await look("UPDATE background_job SET next_due_utc = now() WHERE job = 'retention'");
      expect(await runJob(options(), failing)).toMatchObject({ error: { message: "broken" } });
      const [row] = await look(
        "SELECT extract(epoch FROM next_due_utc - ended_utc)::float8 AS wait FROM background_job WHERE job = 'retention'",
      );
      waits.push(row.wait);
    }
    expect(waits).toEqual([30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
  });

  test("a run whose server was lost is interrupted, and another server takes it over", async () => {
    await look("UPDATE background_job SET next_due_utc = now() WHERE job = 'tier_objects'");
    const lost = randomUUID();
    await withClient(database.runtimeUrl, async (client) => {
      expect(await beginRun(client, "tier_objects", lost, { server: "lost/7", intervalMs: 1000 })).toBe(true);
    });
    const state = async () => (await listRuns(pools.query, jobNames)).find((run) => run.job === "tier_objects");
    expect(await state()).toMatchObject({ state: "INTERRUPTED", server: "lost/7", runId: lost, endedUtc: null });
    expect(await runJob(options(), job("tier_objects"))).toBeUndefined();
    await look("UPDATE background_job SET next_due_utc = now() WHERE job = 'tier_objects'");
    expect(await runJob(options(), job("tier_objects"))).toMatchObject({ done: {} });
    expect(await state()).toMatchObject({ state: "DONE", server: "test/1", failuresInRow: 0 });
  });

  test.each(["DONE", "FAILED"])("a run that is asked for while the job runs follows it, once, however it ends: %s", async (outcome) => {
    await look("UPDATE background_job SET next_due_utc = now() WHERE job = 'retention'");
    const asking = {
      name: "retention",
      async run() {
        // Longer ago than another server waits before it takes over: nothing but the request makes a run due.
        await look(
          "UPDATE background_job SET started_utc = started_utc - interval '1 day', next_due_utc = now() - interval '1 s' WHERE job = 'retention'",
        );
        await requestRun(pools.query, jobNames, "retention");
        await requestRun(pools.query, jobNames, "retention");
        if (outcome === "FAILED") throw new Error("broken");
        return {};
      },
    };
    await runJob(options(), asking);
    expect((await listRuns(pools.query, ["retention"]))[0]).toMatchObject({ state: outcome });
    expect(await due()).toContain("retention");
    const quiet = {
      name: "retention",
      async run() {
        await look(
          "UPDATE background_job SET started_utc = started_utc - interval '1 day', next_due_utc = now() - interval '1 s' WHERE job = 'retention'",
        );
        return {};
      },
    };
    expect(await runJob(options(), quiet)).toHaveProperty("done");
    expect(await due()).not.toContain("retention");
  });

  test("a run is seen as running while it lasts", async () => {
    await look("UPDATE background_job SET next_due_utc = now() WHERE job = 'retention'");
    const seen: unknown[] = [];
    const curious = {
      name: "retention",
      run: async () => {
        seen.push(await listRuns(pools.query, ["retention"]));
        return {};
      },
    };
    await runJob(options(), curious);
    expect(seen).toMatchObject([[{ job: "retention", state: "RUNNING", server: "test/1" }]]);
  });
});

describe("a job", () => {
  test("that hangs is cut off, and the next one runs", async () => {
    const { log, lines } = heard();
    const impatient = {
      name: "audit_events",
      async run(worker: JobWorker) {
        await worker.client.query("SET statement_timeout = 200");
        return job("audit_events")
          .run(worker)
          .finally(() => worker.client.query("RESET statement_timeout"));
      },
    };
    await look("UPDATE background_job SET next_due_utc = now()");
    await withClient(database.superuserUrl, async (client) => {
      await client.query("BEGIN; LOCK TABLE audit_waiting IN ACCESS EXCLUSIVE MODE");
      expect(await runJob(options(log), impatient)).toHaveProperty("error");
      expect(await runJob(options(log), job("retention"))).toHaveProperty("done");
    });
    expect(lines).toMatchObject([
      { level: 50, job: "audit_events", runId: expect.any(String), err: { cause: { code: "57014" } } },
      { level: 20, job: "retention", runId: expect.any(String) },
    ]);
  });

  test("whose connection is lost is recorded as failed, and the lock is free", async () => {
    await look("UPDATE background_job SET next_due_utc = now()");
    const dying = {
      name: "retention",
      run: async ({ client }: JobWorker) => {
        const { rows } = await client.query("SELECT pg_backend_pid() AS pid");
        await look("SELECT pg_terminate_backend($1)", [rows[0].pid]);
        await client.query("SELECT 1");
        return {};
      },
    };
    expect(await runJob(options(), dying)).toHaveProperty("error");
    const [run] = await listRuns(pools.query, ["retention"]);
    expect(run).toMatchObject({ state: "FAILED", error: expect.any(String) });
    expect(await runJob(options(), job("partitions"))).toHaveProperty("done");
  });

  test("that fails for one tenant is done for the others", async () => {
    await createTestTenant(database);
    const done: string[] = [];
    const client = await pools.query.connect();
    const work = async (tenantId: string) => {
      await client.query("BEGIN; DECLARE open_one CURSOR WITH HOLD FOR SELECT 1");
      if (done.push(tenantId) === 1) await client.query("SELECT 1 / 0");
      await client.query("CLOSE open_one; COMMIT");
    };
    const failed = forEachTenant({ client, auditKeepDays: 7, signal: never }, work);
    await expect(failed).rejects.toThrow(/^failed for 1 of [3-9] tenants, first for /);
    expect(done.length).toBeGreaterThan(2);
    client.release();
  });

  test("when nothing can be found out of the database, that is logged, and tried again", async () => {
    const { log, lines } = heard();
    const stop = new AbortController();
    let down = true;
    const refusing = new pg.Pool({ host: "127.0.0.1", port: 1 });
    const pool = {
      query: (...args: [string, unknown[]]) => (down ? refusing : pools.query).query(...args),
      connect: () => pools.query.connect(),
    };
    await look("UPDATE background_job SET next_due_utc = now()");
    const ended = maintain({ ...options(log), pool: pool as unknown as pg.Pool, intervalMs: 1, signal: stop.signal });
    await vi.waitFor(() => expect(lines[0]).toMatchObject({ level: 50, err: { code: "ECONNREFUSED" } }));
    down = false;
    await vi.waitFor(() => expect(lines.some(({ msg }) => msg === "a background job is done")).toBe(true));
    stop.abort();
    await ended;
    await refusing.end();
  });
});
