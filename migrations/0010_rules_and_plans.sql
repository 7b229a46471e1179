-- Rules with who changed them, holds that are safe to repeat, and a record of each plan.

ALTER TABLE tier_rule
  ADD COLUMN description text NOT NULL DEFAULT '',
  ADD COLUMN created_by text NOT NULL DEFAULT '',
  ADD COLUMN retired_by text,
  ADD CONSTRAINT tier_rule_retired_by_somebody CHECK ((retired_utc IS NULL) = (retired_by IS NULL));
ALTER TABLE tier_rule ALTER COLUMN rule_name TYPE text COLLATE "C", ALTER COLUMN created_by DROP DEFAULT;
-- One version of a name is in force.
CREATE UNIQUE INDEX tier_rule_in_force ON tier_rule (tenant_id, rule_name) WHERE retired_utc IS NULL;
-- What a version says never changes: tier objects point at the version they were planned under.
REVOKE UPDATE ON tier_rule FROM frostline_runtime;
GRANT UPDATE (retired_utc, retired_by) ON tier_rule TO frostline_runtime;

-- At most 500 characters: an index entry may not exceed 2,704 bytes.
ALTER TABLE hold ALTER COLUMN path_glob TYPE text COLLATE "C",
  ADD CONSTRAINT hold_path_glob_length CHECK (char_length(path_glob) BETWEEN 1 AND 500);
CREATE UNIQUE INDEX hold_one ON hold (tenant_id, share_id, path_glob);

-- Who planned what, under which rules, and what was counted on the way.
CREATE TABLE tier_plan (
  tenant_id uuid NOT NULL,
  plan_id bigint GENERATED ALWAYS AS IDENTITY,
  share_id bigint NOT NULL,
  -- The share's plans are counted: two at a time would both be the next one.
  plan_no integer NOT NULL,
  -- The caller's name for it: a call that is repeated finds the plan that was made.
  request_id uuid NOT NULL,
  scan_id bigint NOT NULL,
  -- What `now` stood for in the rules.
  now_unix bigint NOT NULL,
  planned_by text NOT NULL,
  planned_utc timestamptz NOT NULL DEFAULT now(),
  brake_confirmed boolean NOT NULL,
  planned_files bigint NOT NULL,
  planned_bytes bigint NOT NULL,
  planned_allocated_bytes bigint NOT NULL,
  funnel jsonb NOT NULL,
  PRIMARY KEY (tenant_id, plan_id),
  UNIQUE (tenant_id, share_id, plan_no),
  UNIQUE (tenant_id, request_id),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id),
  FOREIGN KEY (tenant_id, scan_id) REFERENCES scan (tenant_id, scan_id)
);
ALTER TABLE tier_plan ENABLE ROW LEVEL SECURITY;
ALTER TABLE tier_plan FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON tier_plan USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT ON tier_plan TO frostline_runtime;
