/** Figures of the planner: a preview beside a bare count of the same condition, a plan beside a bare INSERT of the same rows. */
import { randomUUID } from "node:crypto";
import * as path from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type pg from "pg";
import { type Client, createClient } from "../src/agent/client.js";
import { type Funnel, PlannerService } from "../src/gen/frostline/v1/planner_pb.js";
import { RuleService, type RuleSpecSchema } from "../src/gen/frostline/v1/rule_pb.js";
import { type Bed, type BenchContext, type BenchResult, withBed } from "./bed.js";
import { type Measured, measureRun, type Operation, summarise } from "./operation.js";
import { createBenchShare, encodeChunks, replayScan } from "./replay-scan.js";
import { median } from "./report.js";

const shareName = "planned";
const callTimeoutMs = 600_000;

/** A rule, and the same by hand over `c` and `d`. */
interface BenchRule {
  spec: MessageInitShape<typeof RuleSpecSchema>;
  byHand: string;
}

/** Three files in ten: last used before the middle of August 2020, and a megabyte. */
const cold: BenchRule = {
  spec: benchSpec("cold", 10, `last_used < timestamp("2020-08-15T00:00:00Z") && size >= 1 * MB`),
  byHand: "GREATEST(c.atime_unix, c.mtime_unix) < 1597449600 AND c.size_bytes >= 1048576",
};
/** They overlap; one looks at paths, one at extensions. */
const five: BenchRule[] = [
  { spec: benchSpec("huge", 1, "size >= 500 * MB"), byHand: "c.size_bytes >= 524288000" },
  {
    spec: benchSpec("media", 2, `extension in ["mxf", "wav"] && atime < timestamp("2022-01-01T00:00:00Z")`),
    byHand: "c.file_extension IN ('mxf', 'wav') AND c.atime_unix < 1640995200",
  },
  {
    spec: benchSpec("dept", 3, `glob(path, "/dept-1-*/**") && mtime < timestamp("2023-01-01T00:00:00Z")`),
    byHand: "d.dir_path LIKE '/dept-1-%' AND c.mtime_unix < 1672531200",
  },
  {
    spec: benchSpec("office", 4, `name.endsWith(".docx") || extension == "pdf"`),
    byHand: "c.name LIKE '%.docx' OR c.file_extension = 'pdf'",
  },
  cold,
];

function benchSpec(name: string, priority: number, expression: string): MessageInitShape<typeof RuleSpecSchema> {
  return { name, priority, expression, targetUri: `s3://bench/${name}`, brakePercent: 100 };
}

/** What is counted or inserted by hand, beside each operation; in seconds. */
interface Beside {
  operation: Operation;
  bareSeconds: number[];
}

/** Throws when a count differs from the one by hand, or a plan from its preview. */
export async function measurePlan(context: BenchContext): Promise<BenchResult> {
  const { dir, files, runs } = context;
  const chunkFile = path.join(dir, "whole");
  const chunks = await encodeChunks(chunkFile, { files });
  return withBed(context, "plan", async (bed) => {
    await createBenchShare(bed.server, shareName);
    await replayScan(bed.server, shareName, chunkFile, chunks);
    await bed.look.query("VACUUM ANALYZE");
    const client = createClient({ server: bed.server.address, key: bed.server.key });
    try {
      const all: Beside[] = [];
      for (const rules of [[cold], five]) all.push(await measurePreview(client, bed, rules, { files, runs }));
      all.push(await measurePlans(client, bed, runs));
      printBeside(all);
      const more = all.map(({ operation, bareSeconds }) => ({ name: operation.name, bareSeconds }));
      return { operations: all.map(({ operation }) => operation), budgets: [], more };
    } finally {
      client.close();
    }
  });
}

async function measurePreview(
  client: Client,
  bed: Bed,
  rules: BenchRule[],
  { files, runs }: { files: number; runs: number },
): Promise<Beside> {
  await client.unary(RuleService.method.applyRules, { ruleSet: { rules: rules.map(({ spec }) => spec), retireOthers: true } });
  const measured: Measured[] = [];
  const bareSeconds: number[] = [];
  // The first round fills caches, for both.
  for (let run = 0; run <= runs; run += 1) {
    const bare = await timed(() => countByHand(bed.look, rules));
    const preview = await measureRun(bed, async () => {
      const { result, seconds } = await timed(() =>
        client.unary(PlannerService.method.preview, { shareName }, { timeoutMs: callTimeoutMs }),
      );
      assertSame(result.funnel as Funnel, rules, bare.result);
      return { seconds };
    });
    if (run === 0) continue;
    bareSeconds.push(bare.seconds);
    measured.push(preview);
  }
  return { operation: summarise(`preview by ${rules.length} rule(s)`, files, measured), bareSeconds };
}

/** Per rule the files that match, and their bytes. */
async function countByHand(look: pg.Client, rules: BenchRule[]): Promise<string[]> {
  const counts = rules.map(({ byHand }) => `count(*) FILTER (WHERE ${byHand}) || ' ' || sum(c.size_bytes) FILTER (WHERE ${byHand})`);
  const join = rules.some(({ byHand }) => byHand.includes("d.dir_path"))
    ? "JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id"
    : "";
  const { rows } = await look.query<{ counts: string[] }>(
    `SELECT ARRAY[${counts.join(", ")}] AS counts FROM file_current c ${join}
     WHERE c.tenant_id = (SELECT tenant_id FROM share WHERE share_name = $1) AND c.share_id = (SELECT share_id FROM share WHERE share_name = $1)
       AND c.missing_since_scan_id IS NULL`,
    [shareName],
  );
  return (rows[0] as { counts: string[] }).counts;
}

function assertSame(funnel: Funnel, rules: BenchRule[], counts: string[]): void {
  const previewed = funnel.rules.map(({ matched }) => `${matched?.files} ${matched?.bytes}`);
  if (previewed.join() !== counts.join())
    throw new Error(`${rules.length} rules: the preview says ${previewed}, the count by hand ${counts}`);
}

/** Plans `cold`, and inserts the rows it made once more, into the table as it was before. */
async function measurePlans(client: Client, bed: Bed, runs: number): Promise<Beside> {
  const { look } = bed;
  await client.unary(RuleService.method.applyRules, { ruleSet: { rules: [cold.spec], retireOthers: true } });
  const measured: Measured[] = [];
  const bareSeconds: number[] = [];
  let plannedFiles = 0;
  for (let run = 0; run < runs; run += 1) {
    await look.query("TRUNCATE tier_object, audit_log CASCADE; CHECKPOINT");
    let saidFiles: bigint | undefined;
    const request = { shareName, requestId: randomUUID(), confirmBrake: true };
    const plan = await measureRun(bed, async () => {
      const { result, seconds } = await timed(() => client.unary(PlannerService.method.plan, request, { timeoutMs: callTimeoutMs }));
      saidFiles = result.plan?.funnel?.planned?.files;
      return { seconds };
    });
    measured.push(plan);
    await look.query(
      `CREATE TEMP TABLE planned AS SELECT ${writtenColumns} FROM tier_object; TRUNCATE tier_object, audit_log CASCADE; CHECKPOINT`,
    );
    const bare = await timed(() => look.query(`INSERT INTO tier_object (${writtenColumns}) SELECT ${writtenColumns} FROM planned`));
    bareSeconds.push(bare.seconds);
    await look.query("DROP TABLE planned");
    plannedFiles = bare.result.rowCount ?? 0;
    if (BigInt(plannedFiles) !== saidFiles) throw new Error("the plan wrote other rows than it says");
  }
  return { operation: summarise("plan, objects", plannedFiles, measured), bareSeconds };
}

const writtenColumns = `tenant_id, share_id, file_current_id, target_uri, state, wanted_action, rule_id, rule_version, plan_id, planned_by, planned_utc,
  planned_size_bytes, planned_mtime_unix, planned_frn`;

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; seconds: number }> {
  const startMs = performance.now();
  const result = await work();
  return { result, seconds: (performance.now() - startMs) / 1000 };
}

/** On stderr: stdout is for --json. */
function printBeside(all: Beside[]): void {
  for (const { operation, bareSeconds } of all) {
    const [ours, bare] = [median(operation.seconds), median(bareSeconds)];
    console.error(`${operation.name}: ${ours.toFixed(2)} s, bare ${bare.toFixed(2)} s: ${(ours / bare).toFixed(2)}x`);
  }
}
