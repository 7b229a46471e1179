-- The last run of each background job, whichever server did it: docs/operations.md. They are the installation's, not a tenant's.
CREATE TABLE background_job (
  job text COLLATE "C" NOT NULL PRIMARY KEY,
  run_id uuid NOT NULL,
  server text NOT NULL,
  started_utc timestamptz NOT NULL,
  ended_utc timestamptz,
  outcome text CHECK (outcome IN ('DONE', 'FAILED', 'INTERRUPTED')),
  error text,
  rows_done bigint NOT NULL DEFAULT 0,
  succeeded_utc timestamptz,
  failures_in_row integer NOT NULL DEFAULT 0,
  -- Of a run that is under way: when another server tries, should this one end without a word.
  next_due_utc timestamptz NOT NULL,
  CHECK ((ended_utc IS NULL) = (outcome IS NULL)),
  CHECK ((outcome IS NOT DISTINCT FROM 'FAILED') = (error IS NOT NULL))
);
GRANT SELECT, INSERT, UPDATE ON background_job TO frostline_runtime;
-- Nothing in it is ever erased for a tenant.
REVOKE ALL ON background_job FROM frostline_maintenance;
