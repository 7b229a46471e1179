/** What a server measures of plans, and of what movers make of them. */
import { Counter, type Registry } from "prom-client";

export class TierMetrics {
  readonly #plannedFiles: Counter;
  readonly #plannedBytes: Counter;
  readonly #claims: Counter<"action">;
  readonly #reports: Counter<"code">;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#plannedFiles = new Counter({ name: "frostline_planned_files_total", help: "Files that plans chose to be tiered.", registers });
    this.#plannedBytes = new Counter({ name: "frostline_planned_bytes_total", help: "Logical size of these files.", registers });
    this.#claims = new Counter({
      name: "frostline_tier_claims_total",
      help: "Tier objects handed out to movers, by what is to be done.",
      labelNames: ["action"] as const,
      registers,
    });
    this.#reports = new Counter({
      name: "frostline_tier_reports_total",
      help: "Reports of movers, by how they were answered.",
      labelNames: ["code"] as const,
      registers,
    });
  }

  planned(files: number, bytes: number): void {
    this.#plannedFiles.inc(files);
    this.#plannedBytes.inc(bytes);
  }

  claimed(action: string, objects: number): void {
    this.#claims.inc({ action }, objects);
  }

  reported(code: string): void {
    this.#reports.inc({ code });
  }
}
