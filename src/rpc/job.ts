/** frostline.v1.JobService */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type JobSchema, type JobService, JobState } from "../gen/frostline/v1/job_pb.js";
import { type JobRun, listRuns, requestRun } from "../maintenance/job-runs.js";
import { jobNames } from "../maintenance/jobs.js";
import type { ServerDeps } from "./context.js";
import { timestampField } from "./convert.js";

export function jobService({ pool }: ServerDeps): ServiceImpl<typeof JobService> {
  return {
    async listJobs() {
      return { jobs: (await listRuns(pool, jobNames)).map(toJob) };
    },
    async runJob({ job }) {
      const before = (await listRuns(pool, jobNames)).find((run) => run.job === job);
      await requestRun(pool, jobNames, job);
      return before === undefined ? {} : { job: toJob(before) };
    },
  };
}

function toJob(run: JobRun): MessageInitShape<typeof JobSchema> {
  const { job, rowsDone, failuresInRow } = run;
  return {
    job,
    state: JobState[run.state],
    runId: run.runId ?? "",
    server: run.server ?? "",
    error: run.error ?? "",
    rowsDone,
    failuresInRow,
    ...timestampField("startTime", run.startedUtc),
    ...timestampField("endTime", run.endedUtc),
    ...timestampField("successTime", run.succeededUtc),
    ...timestampField("nextDueTime", run.nextDueUtc),
  };
}
