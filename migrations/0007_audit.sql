-- Whose audit events never count as an access. share_id null: for all shares of the tenant.
CREATE TABLE audit_exclusion (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  exclusion_id bigint GENERATED ALWAYS AS IDENTITY,
  share_id bigint,
  kind text NOT NULL CHECK (kind IN ('user', 'host', 'node', 'action')),
  value text COLLATE "C" NOT NULL CHECK (char_length(value) BETWEEN 1 AND 1000),
  created_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, exclusion_id),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id)
);
CREATE UNIQUE INDEX audit_exclusion_one ON audit_exclusion (tenant_id, coalesce(share_id, 0), kind, value);
ALTER TABLE audit_exclusion ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_exclusion FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON audit_exclusion USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, DELETE ON audit_exclusion TO frostline_runtime;

-- Which node's host an access came from is told with who did it.
ALTER TABLE audit_log ADD COLUMN host text;

-- Directories whose history a scan brought back in step with what audit events had done: its counts then say less than its versions.
ALTER TABLE scan ADD COLUMN dirs_reconciled bigint NOT NULL DEFAULT 0;
