/** Breakages of plans, claims and retention: what could cost a file. */
import type { Breakage } from "./breakage.js";

export const ofTiering: Breakage[] = [
  {
    name: "objects are claimed without a lock on their rows",
    changes: [{ file: "src/tier/claim.ts", find: "     FOR UPDATE OF t SKIP LOCKED`", replace: "`" }],
    caughtBy: {
      file: "test/tier-claims.test.ts",
      title: "16 claimers at once over 10,000 objects: none is handed out twice, and those of claimers that were killed come back",
    },
  },
  {
    name: "a report counts although another mover has the object",
    changes: [{ file: "src/tier/judge.ts", find: "if (object.leaseToken !== leaseToken) {", replace: "if (object.leaseToken === null) {" }],
    caughtBy: {
      file: "test/tier-claims.test.ts",
      title: "a late report counts while nobody else has claimed the object, and not after that",
    },
  },
  {
    name: "a file that changed since it was planned is handed out",
    changes: [
      {
        file: "src/tier/claim.ts",
        find: "new Set(await asPlanned(client, tenantId, ids))",
        replace: "new Set(ids)",
      },
    ],
    caughtBy: {
      file: "test/tier-claims.test.ts",
      title: "a planned file that changed, went, or was written to is not handed out but cancelled",
    },
  },
  {
    name: "a request to plan that comes twice plans twice",
    changes: [
      { file: "src/planner/plan.ts", find: "  if (made !== undefined) {\n", replace: "  if (made !== undefined && made.planId < 0n) {\n" },
    ],
    caughtBy: {
      file: "test/planner-plan.test.ts",
      title: "sixteen calls at once: one plan for each request id, and each file in one of them",
    },
  },
  {
    name: "retention purges the version that the oldest kept scan shows",
    changes: [
      {
        file: "migrations/0014_retention.sql",
        find: "AND f.scan_id <= n.scan_id AND (f.scan_id < n.scan_id OR n.change = 'R') OFFSET 0",
        replace: "AND f.scan_id <= n.scan_id OFFSET 0",
      },
    ],
    caughtBy: {
      file: "test/retention.test.ts",
      title: "of 30 scans 5 are kept: they read as before, the versions are those predicted, and 10 more rounds do not add to them",
    },
  },
];
