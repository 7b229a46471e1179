/** `plan` and `plans`: plan a share, and what was planned before. */
import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import { PlannerService, type PlanRecord, PlanRecordSchema, PlanResponseSchema } from "../gen/frostline/v1/planner_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { bytes, count, isoTimestamp, table } from "./format.js";
import { funnelLines } from "./funnel-lines.js";
import { parseWhole } from "./parse.js";

/** A million objects take a minute or two. */
const timeoutMs = 600_000;

interface PlanOptions {
  share: string;
  confirmBrake: boolean;
  requestId?: string;
}

export function addPlan(program: Command): void {
  program
    .command("plan")
    .description("plan the files of a share for tiering, by the rules in force")
    .requiredOption("--share <name>", "the share")
    .option("--confirm-brake", "take more of the share than the rules' brake_percent", false)
    .option("--request-id <uuid>", "the same id again returns the plan that it made (default: a new one)")
    .action(
      action(async ({ global, output }, options: PlanOptions) => {
        const requestId = options.requestId ?? randomUUID();
        output.note(`Request id ${requestId}: if the answer is lost, run this again with --request-id.`);
        const request = { shareName: options.share, requestId, confirmBrake: options.confirmBrake };
        const response = await withClient(global, "operator", (client) => client.unary(PlannerService.method.plan, request, { timeoutMs }));
        if (output.json) await output.printMessages(PlanResponseSchema, [response]);
        else if (response.plan?.funnel) await output.print(funnelLines(response.plan.funnel));
        const { plan } = response;
        output.note(
          `${response.repeatedRequest ? "Made before: plan" : "Plan"} ${plan?.planNo} of ${options.share}: ${count(plan?.funnel?.planned?.files ?? 0n)} files.`,
        );
        return 0;
      }),
    );
}

export function addPlans(program: Command): void {
  program
    .command("plans")
    .description("list the plans of a share, the newest first")
    .requiredOption("--share <name>", "the share")
    .option("--limit <n>", "at most so many", parseWhole(1))
    .action(
      action(async ({ global, output }, options: { share: string; limit?: number }) => {
        await withClient(global, "reader", async (client) => {
          let left = options.limit ?? Number.POSITIVE_INFINITY;
          let pageToken = "";
          do {
            const request = { shareName: options.share, pageSize: Math.min(50, left), pageToken };
            const page = await client.unary(PlannerService.method.listPlans, request);
            if (output.json) await output.printMessages(PlanRecordSchema, page.plans);
            else await output.print(planTable(page.plans).slice(pageToken === "" ? 0 : 1));
            left -= page.plans.length;
            pageToken = page.nextPageToken;
          } while (pageToken !== "" && left > 0);
        });
        return 0;
      }),
    );
}

function planTable(plans: PlanRecord[]): string[] {
  return table(
    [
      { title: "PLAN", align: "right" },
      { title: "TIME" },
      { title: "FILES", align: "right" },
      { title: "SIZE", align: "right" },
      { title: "SCAN", align: "right" },
      { title: "RULES" },
      { title: "BY" },
    ],
    plans.map(({ planNo, planTime, funnel, scanId, plannedBy }) => [
      String(planNo),
      isoTimestamp(planTime),
      count(funnel?.planned?.files ?? 0n),
      bytes(funnel?.planned?.bytes ?? 0n),
      String(scanId),
      funnel?.rules.map(({ ruleName, version }) => `${ruleName} v${version}`).join(", ") ?? "",
      plannedBy,
    ]),
  );
}
