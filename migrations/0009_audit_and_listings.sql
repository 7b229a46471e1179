-- When a directory was last listed whole, by the agent's clock: an audit event that is older tells of a state before that.
-- NULL when that is not known: an import only says how new its listings can be at most.
ALTER TABLE dir ADD COLUMN listed_utc timestamptz;
ALTER TABLE scan ADD COLUMN exact_list_times boolean NOT NULL DEFAULT false;

-- The newest access that events told of under a path where no file is known: for the scan, or the event, that brings one there.
CREATE TABLE audit_waiting (
  tenant_id uuid NOT NULL,
  share_id bigint NOT NULL,
  dir_digest uuid NOT NULL,
  name text COLLATE "C" NOT NULL,
  path text COLLATE "C" NOT NULL,
  -- For what lies below a directory: an index takes no whole path, and behind row-level security no expression.
  path_start text COLLATE "C" NOT NULL GENERATED ALWAYS AS (substr(path, 1, 400)) STORED,
  event_micros bigint NOT NULL,
  event_id text COLLATE "C" NOT NULL,
  actor text,
  host text,
  recorded_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, share_id, dir_digest, name)
);
-- Neither begins with the tenant: without statistics the planner would take them for as good as the key, and read all of a
-- share's rows for each path.
CREATE INDEX audit_waiting_below ON audit_waiting (path_start, tenant_id, share_id);
CREATE INDEX audit_waiting_recorded ON audit_waiting (recorded_utc, tenant_id);
ALTER TABLE audit_waiting ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_waiting FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON audit_waiting USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE, DELETE ON audit_waiting TO frostline_runtime;

-- Events go to their statements as arrays.
DROP TABLE staging_lucid_audit;
