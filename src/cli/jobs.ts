/** `jobs list` and `jobs run`: the background jobs of the whole installation. */
import type { Command } from "commander";
import { type Job, JobSchema, JobService, JobState } from "../gen/frostline/v1/job_pb.js";
import { action } from "./command.js";
import { withClient } from "./connection.js";
import { count, isoTimestamp, table } from "./format.js";

export function addJobs(program: Command): void {
  const jobs = program.command("jobs").description("the background jobs; needs an admin key of the platform tenant");
  jobs
    .command("list", { isDefault: true })
    .description("list the jobs and their last runs (the default); exit status 3 when one has failed")
    .action(
      action(async ({ global, output }) => {
        const { jobs: listed } = await withClient(global, "admin", (client) => client.unary(JobService.method.listJobs, {}));
        if (output.json) await output.printMessages(JobSchema, listed);
        else await output.print(jobTable(listed));
        return listed.some(({ state }) => state === JobState.FAILED) ? 3 : 0;
      }),
    );
  jobs
    .command("run <job>")
    .description("have a job run within 10 seconds, by whichever server looks first; prints its last run")
    .action(
      action(async ({ global, output }, _options: unknown, job: string) => {
        const { job: before } = await withClient(global, "admin", (client) => client.unary(JobService.method.runJob, { job }));
        const listed = before === undefined ? [] : [before];
        if (output.json) await output.printMessages(JobSchema, listed);
        else await output.print(jobTable(listed));
        return 0;
      }),
    );
}

function jobTable(jobs: Job[]): string[] {
  const columns = [
    { title: "JOB" },
    { title: "STATE" },
    { title: "STARTED" },
    { title: "ENDED" },
    { title: "ROWS", align: "right" as const },
    { title: "NEXT DUE" },
    { title: "SERVER" },
  ];
  const rows = jobs.map((job) => [
    job.job,
    `${JobState[job.state].toLowerCase()}${job.failuresInRow > 1 ? ` (${job.failuresInRow} times)` : ""}`,
    isoTimestamp(job.startTime),
    isoTimestamp(job.endTime),
    count(job.rowsDone),
    isoTimestamp(job.nextDueTime),
    job.server,
  ]);
  const errors = jobs.filter(({ error }) => error !== "").map(({ job, error }) => `${job}: ${error}`);
  return [...table(columns, rows), ...(errors.length === 0 ? [] : ["", ...errors])];
}
