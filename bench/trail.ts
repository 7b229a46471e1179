/** Audit trails: the measuring is in audit.ts, here is what it takes of each process and what it must keep to. */
import { type AuditBench, type AuditFigures, measureAudit, measureFollow, printAudit, printFollow, scanForAudit } from "./audit.js";
import { type Bed, type BenchContext, type BenchResult, withBed } from "./bed.js";
import { atLeast } from "./budgets.js";
import { measureRun, type Operation, summarise } from "./operation.js";

const eventsPerMinute = 1_500_000;

export async function measureTrail(context: BenchContext): Promise<BenchResult> {
  return withBed(context, "audit", async (bed) => {
    const bench = auditBench(context, bed, context.files);
    await scanForAudit(bench);
    const { operation, figures } = await measureEvents(bed, bench);
    printAudit(figures);
    return {
      operations: [operation],
      budgets: [atLeast("audit events", figures.eventsPerMinute, eventsPerMinute, "a minute")],
      more: figures,
    };
  });
}

/** From a line's write until its file's row shows it. */
export async function measureFollowing(context: BenchContext): Promise<BenchResult> {
  return withBed(context, "audit_follow", async (bed) => {
    const bench = auditBench(context, bed, context.files);
    await scanForAudit(bench);
    const figures = await measureFollow(bench);
    printFollow(figures);
    return { operations: [], budgets: [], more: figures };
  });
}

export function auditBench({ dir, seconds }: BenchContext, { server, superuserUrl }: Bed, files: number): AuditBench {
  return { server, superuserUrl, dir, files, seconds };
}

/** Events into the share that scanForAudit made. */
export async function measureEvents(bed: Bed, bench: AuditBench): Promise<{ operation: Operation; figures: AuditFigures }> {
  let figures: AuditFigures | undefined;
  const measured = await measureRun(bed, async () => {
    figures = await measureAudit(bench);
    return figures;
  });
  const sent = figures as unknown as AuditFigures;
  return { operation: summarise("audit events", sent.events, [measured]), figures: sent };
}
