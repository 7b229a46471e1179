-- The whole schema. docs/schema.md explains every table and column.
-- Names and paths are COLLATE "C": a change of the system's collation must not corrupt an index.

-- Reads '' rather than NULL after a SET LOCAL has ended, hence nullif.
CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE
  AS $$ SELECT nullif(current_setting('app.tenant_id', true), '')::uuid $$;

CREATE TABLE tenant (
  tenant_id uuid PRIMARY KEY,
  code text NOT NULL UNIQUE CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  name text NOT NULL,
  is_platform boolean NOT NULL DEFAULT false,
  kms_ref text NOT NULL DEFAULT 'none',
  encrypted_dek text NOT NULL DEFAULT '',
  created_utc timestamptz NOT NULL DEFAULT now(),
  updated_utc timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_key (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  key_id uuid NOT NULL,
  name text NOT NULL,
  scopes text[] NOT NULL CHECK (scopes <@ ARRAY['agent', 'operator', 'reader', 'admin'] AND cardinality(scopes) > 0),
  -- SHA-256 of a 256-bit random secret: nothing to guess, so no slow hash is needed.
  secret_sha256 bytea NOT NULL UNIQUE,
  created_utc timestamptz NOT NULL DEFAULT now(),
  expires_utc timestamptz,
  revoked_utc timestamptz,
  PRIMARY KEY (tenant_id, key_id)
);

-- Ids of bulk rows: one nextval gives a block, a row's ordinal the rest.
CREATE SEQUENCE dir_id_block INCREMENT 4096;
CREATE SEQUENCE file_current_id_block INCREMENT 65536;
CREATE SEQUENCE share_id_seq;
CREATE SEQUENCE scan_id_seq;

CREATE TABLE share (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  share_id bigint NOT NULL DEFAULT nextval('share_id_seq'),
  share_name text COLLATE "C" NOT NULL CHECK (char_length(share_name) BETWEEN 1 AND 200),
  src_type text NOT NULL CHECK (src_type IN ('NTFS', 'SMB', 'LucidLink')),
  volume_id text,
  source_root text NOT NULL DEFAULT '',
  case_sensitive boolean NOT NULL,
  brake_percent integer NOT NULL DEFAULT 50 CHECK (brake_percent BETWEEN 1 AND 100),
  stale_scan_alarm_seconds bigint,
  last_complete_scan_id bigint,
  last_complete_utc timestamptz,
  created_utc timestamptz NOT NULL DEFAULT now(),
  updated_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, share_id),
  UNIQUE (tenant_id, share_name),
  UNIQUE (tenant_id, volume_id)
);

CREATE TABLE scan (
  tenant_id uuid NOT NULL,
  scan_id bigint NOT NULL DEFAULT nextval('scan_id_seq'),
  share_id bigint NOT NULL,
  src_type text NOT NULL,
  mode text NOT NULL CHECK (mode IN ('FULL', 'PARTIAL')),
  status text NOT NULL DEFAULT 'RUNNING' CHECK (status IN ('RUNNING', 'OK', 'WARN', 'ERROR', 'ABANDONED')),
  started_utc timestamptz NOT NULL DEFAULT now(),
  finishing_utc timestamptz,
  finished_utc timestamptz,
  dirs_listed bigint NOT NULL DEFAULT 0,
  files_listed bigint NOT NULL DEFAULT 0,
  bytes_listed bigint NOT NULL DEFAULT 0,
  added bigint NOT NULL DEFAULT 0,
  changed bigint NOT NULL DEFAULT 0,
  gone bigint NOT NULL DEFAULT 0,
  moved bigint NOT NULL DEFAULT 0,
  refused bigint NOT NULL DEFAULT 0,
  unreadable bigint NOT NULL DEFAULT 0,
  repeated_chunks bigint NOT NULL DEFAULT 0,
  -- The brake: the most files the scan may mark missing, and what it wanted when it was stopped.
  brake_limit bigint NOT NULL,
  brake_wanted bigint,
  brake_confirmed_utc timestamptz,
  history_purged_utc timestamptz,
  PRIMARY KEY (tenant_id, scan_id),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id)
);
CREATE UNIQUE INDEX scan_one_running ON scan (tenant_id, share_id) WHERE status = 'RUNNING';
CREATE INDEX scan_by_share ON scan (tenant_id, share_id, scan_id DESC);

-- One row per writer of a scan: the row every segment must still own when it commits.
CREATE TABLE scan_writer (
  tenant_id uuid NOT NULL,
  scan_id bigint NOT NULL,
  writer text NOT NULL CHECK (char_length(writer) BETWEEN 1 AND 100),
  epoch bigint NOT NULL DEFAULT 1,
  next_chunk_no bigint NOT NULL DEFAULT 0,
  resume_token bytea NOT NULL DEFAULT '',
  PRIMARY KEY (tenant_id, scan_id, writer),
  FOREIGN KEY (tenant_id, scan_id) REFERENCES scan (tenant_id, scan_id)
);

CREATE TABLE ingest_chunk (
  tenant_id uuid NOT NULL,
  scan_id bigint NOT NULL,
  writer text NOT NULL,
  chunk_no bigint NOT NULL,
  PRIMARY KEY (tenant_id, scan_id, writer, chunk_no)
);

CREATE TABLE scan_problem (
  tenant_id uuid NOT NULL,
  scan_id bigint NOT NULL,
  writer text NOT NULL,
  chunk_no bigint NOT NULL,
  ordinal integer NOT NULL,
  record_index integer NOT NULL,
  dir_path text NOT NULL,
  name text NOT NULL,
  reason text NOT NULL,
  unreadable boolean NOT NULL DEFAULT false,
  PRIMARY KEY (tenant_id, scan_id, writer, chunk_no, ordinal),
  FOREIGN KEY (tenant_id, scan_id) REFERENCES scan (tenant_id, scan_id)
);

-- path_digest is the first 128 bits of SHA-256 of the path (folded to lower case on a
-- case-insensitive share): a b-tree entry may not exceed 2,704 bytes, a path may.
-- A rescan updates one row per directory; the fillfactor keeps that update in its page.
CREATE TABLE dir (
  tenant_id uuid NOT NULL,
  dir_id bigint NOT NULL,
  share_id bigint NOT NULL,
  parent_dir_id bigint,
  path_digest uuid NOT NULL,
  dir_path text COLLATE "C" NOT NULL,
  last_listed_scan_id bigint,
  last_seen_scan_id bigint,
  unreadable_scan_id bigint,
  missing_since_scan_id bigint,
  history_dirty boolean NOT NULL DEFAULT false,
  last_structural_event_utc timestamptz,
  PRIMARY KEY (tenant_id, dir_id),
  UNIQUE (tenant_id, share_id, path_digest),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id)
) WITH (fillfactor = 45);
CREATE INDEX dir_by_parent ON dir (tenant_id, parent_dir_id);

-- History: one row per file version. No foreign keys: each costs more than the insert.
CREATE TABLE file (
  tenant_id uuid NOT NULL,
  share_id bigint NOT NULL,
  dir_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  scan_id bigint NOT NULL,
  change "char" NOT NULL CHECK (change IN ('A', 'C', 'R')),
  link_count integer,
  file_current_id bigint NOT NULL,
  size_bytes bigint,
  allocated_bytes bigint,
  atime_unix bigint,
  mtime_unix bigint,
  ctime_unix bigint,
  frn bigint,
  owner text,
  file_hash bytea,
  PRIMARY KEY (tenant_id, share_id, dir_id, name, scan_id)
) PARTITION BY HASH (tenant_id);
CREATE INDEX file_by_scan ON file (tenant_id, share_id, scan_id);

-- Current state. No index on atime: it costs 30 % and makes every access update non-HOT.
CREATE TABLE file_current (
  tenant_id uuid NOT NULL,
  file_current_id bigint NOT NULL,
  share_id bigint NOT NULL,
  dir_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  file_extension text COLLATE "C" NOT NULL DEFAULT '',
  link_count integer,
  metadata_complete boolean NOT NULL DEFAULT true,
  stale_metadata boolean NOT NULL DEFAULT false,
  size_bytes bigint,
  allocated_bytes bigint,
  atime_unix bigint,
  scanned_atime_unix bigint,
  mtime_unix bigint,
  ctime_unix bigint,
  frn bigint,
  owner text,
  file_hash bytea,
  last_accessed_source text NOT NULL DEFAULT 'initial_scan' CHECK (last_accessed_source IN ('initial_scan', 'lucidlink_audit')),
  atime_updated_utc timestamptz NOT NULL DEFAULT now(),
  first_seen_scan_id bigint,
  missing_since_scan_id bigint,
  last_structural_event_utc timestamptz,
  created_utc timestamptz NOT NULL DEFAULT now(),
  updated_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, file_current_id)
) PARTITION BY HASH (tenant_id);
CREATE UNIQUE INDEX file_current_live ON file_current (tenant_id, dir_id, name) WHERE missing_since_scan_id IS NULL;
CREATE INDEX file_current_missing_name ON file_current (tenant_id, dir_id, name) WHERE missing_since_scan_id IS NOT NULL;
CREATE INDEX file_current_missing_scan ON file_current (tenant_id, share_id, missing_since_scan_id) WHERE missing_since_scan_id IS NOT NULL;

DO $$
BEGIN
  FOR n IN 0..7 LOOP
    EXECUTE format('CREATE TABLE file_p%s PARTITION OF file FOR VALUES WITH (MODULUS 8, REMAINDER %s)', n, n);
    EXECUTE format('CREATE TABLE file_current_p%s PARTITION OF file_current FOR VALUES WITH (MODULUS 8, REMAINDER %s) WITH (fillfactor = 90)', n, n);
  END LOOP;
END $$;

-- Staging. No row-level security: COPY FROM refuses such tables; only the runtime role reaches
-- them. On plain PostgreSQL an ingest connection shadows them with temporary tables.
CREATE UNLOGGED TABLE staging_file (
  tenant_id uuid NOT NULL,
  ordinal integer NOT NULL,
  dir_id bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  file_extension text COLLATE "C" NOT NULL,
  link_count integer,
  -- The record was refused for its values: it protects the row that has its name.
  refused boolean NOT NULL,
  size_bytes bigint NOT NULL,
  allocated_bytes bigint,
  atime_unix bigint NOT NULL,
  mtime_unix bigint NOT NULL,
  ctime_unix bigint NOT NULL,
  frn bigint,
  owner text,
  file_hash bytea
);
CREATE UNLOGGED TABLE staging_dir (
  tenant_id uuid NOT NULL,
  dir_id bigint NOT NULL,
  complete boolean NOT NULL,
  unreadable boolean NOT NULL,
  listed_utc timestamptz
);
-- What a segment has to write: one row per difference between staging_file and file_current.
CREATE UNLOGGED TABLE staging_diff (
  tenant_id uuid NOT NULL,
  kind "char" NOT NULL,
  ordinal integer,
  file_current_id bigint,
  keep_hash boolean
);
CREATE UNLOGGED TABLE staging_lucid_audit (
  tenant_id uuid NOT NULL,
  ordinal integer NOT NULL,
  audit_event_id text NOT NULL,
  event_utc timestamptz NOT NULL,
  action text NOT NULL,
  path_digest uuid NOT NULL,
  dir_path text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  actor text,
  host text
);

CREATE TABLE lucid_audit_cursor (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  volume_id text NOT NULL,
  audit_file_path text COLLATE "C" NOT NULL,
  generation integer NOT NULL DEFAULT 0,
  head_fingerprint bytea,
  last_position bigint NOT NULL DEFAULT 0,
  last_event_id text,
  last_processed_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, volume_id, audit_file_path)
);
CREATE TABLE lucid_audit_processed (
  tenant_id uuid NOT NULL,
  volume_id text NOT NULL,
  audit_event_id text COLLATE "C" NOT NULL,
  processed_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, volume_id, audit_event_id)
);

CREATE TABLE audit_log (
  tenant_id uuid NOT NULL,
  recorded_utc timestamptz NOT NULL DEFAULT now(),
  kind text NOT NULL,
  share_id bigint NOT NULL,
  file_current_id bigint NOT NULL,
  old_atime_unix bigint,
  new_atime_unix bigint,
  old_state text,
  new_state text,
  source text NOT NULL,
  actor text,
  event_id text,
  event_utc timestamptz
) PARTITION BY RANGE (recorded_utc);
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
CREATE INDEX audit_log_by_file ON audit_log (tenant_id, file_current_id, recorded_utc);

CREATE TABLE tier_rule (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  rule_id bigint GENERATED ALWAYS AS IDENTITY,
  version integer NOT NULL,
  rule_name text NOT NULL,
  priority integer NOT NULL,
  enabled boolean NOT NULL DEFAULT true,
  expression text NOT NULL,
  target_uri text NOT NULL,
  settings jsonb NOT NULL DEFAULT '{}',
  created_utc timestamptz NOT NULL DEFAULT now(),
  retired_utc timestamptz,
  PRIMARY KEY (tenant_id, rule_id),
  UNIQUE (tenant_id, rule_name, version)
);
CREATE TABLE hold (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  hold_id bigint GENERATED ALWAYS AS IDENTITY,
  share_id bigint NOT NULL,
  path_glob text NOT NULL,
  reason text NOT NULL,
  created_by text NOT NULL,
  created_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, hold_id),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id)
);
CREATE TABLE tier_object (
  tenant_id uuid NOT NULL,
  tier_id bigint GENERATED ALWAYS AS IDENTITY,
  share_id bigint NOT NULL,
  file_current_id bigint NOT NULL,
  target_uri text NOT NULL,
  state text NOT NULL CHECK (state IN ('PLANNED', 'STUBBED', 'REHYDRATED', 'DELETED')),
  wanted_action text CHECK (wanted_action IN ('STUB', 'REHYDRATE', 'DELETE_TARGET')),
  rule_id bigint,
  planned_by text NOT NULL,
  planned_utc timestamptz NOT NULL DEFAULT now(),
  acted_utc timestamptz,
  last_seen_utc timestamptz,
  last_accessed_utc timestamptz,
  access_count bigint NOT NULL DEFAULT 0,
  lease_holder text,
  lease_until_utc timestamptz,
  attempts integer NOT NULL DEFAULT 0,
  retry_after_utc timestamptz,
  stub_fingerprint text,
  state_reason text,
  PRIMARY KEY (tenant_id, tier_id),
  UNIQUE (tenant_id, file_current_id),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id),
  FOREIGN KEY (tenant_id, file_current_id) REFERENCES file_current (tenant_id, file_current_id)
);
CREATE INDEX tier_object_by_state ON tier_object (tenant_id, state, wanted_action);
CREATE TABLE warming_event (
  tenant_id uuid NOT NULL,
  position bigint NOT NULL,
  tier_id bigint NOT NULL,
  event_utc timestamptz NOT NULL,
  actor text,
  host text,
  recorded_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, position),
  FOREIGN KEY (tenant_id, tier_id) REFERENCES tier_object (tenant_id, tier_id)
);
CREATE TABLE retention_policy (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  policy_id bigint GENERATED ALWAYS AS IDENTITY,
  share_id bigint,
  keep_scans integer CHECK (keep_scans > 0),
  keep_days integer CHECK (keep_days > 0),
  PRIMARY KEY (tenant_id, policy_id),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id)
);
CREATE UNIQUE INDEX retention_policy_one ON retention_policy (tenant_id, coalesce(share_id, 0));

-- Row-level security, on every table that has a tenant, but staging.
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['tenant', 'api_key', 'share', 'scan', 'scan_writer', 'ingest_chunk', 'scan_problem', 'dir',
    'file', 'file_current', 'lucid_audit_cursor', 'lucid_audit_processed', 'audit_log', 'tier_rule', 'hold', 'tier_object',
    'warming_event', 'retention_policy'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', t);
  END LOOP;
  -- A partition reached directly obeys its own policies, not its parent's.
  FOR t IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
  END LOOP;
END $$;
CREATE POLICY maintenance ON tenant TO frostline_maintenance USING (true) WITH CHECK (true);
CREATE POLICY maintenance ON api_key TO frostline_maintenance USING (true) WITH CHECK (true);

-- A view is run with its owner's rights, and security_invoker needs PostgreSQL 15. The owner is
-- under FORCE ROW LEVEL SECURITY itself, so the view shows the current tenant's rows and no other.
CREATE VIEW file_inventory AS
  SELECT c.file_current_id AS id, c.tenant_id AS customer_id, c.share_id AS host_id,
    CASE WHEN d.dir_path = '/' THEN '/' || c.name ELSE d.dir_path || '/' || c.name END AS file_path,
    c.size_bytes AS file_size, c.mtime_unix AS last_modified, c.atime_unix AS last_accessed, c.file_extension, c.file_hash,
    coalesce(t.state = 'STUBBED', false) AS is_stubbed, CASE WHEN t.state = 'STUBBED' THEN t.acted_utc END AS stub_created_at,
    t.target_uri AS tiered_location, s.started_utc AS last_scan_time, c.created_utc AS created_at, c.updated_utc AS updated_at
  FROM file_current c
  JOIN dir d ON d.tenant_id = c.tenant_id AND d.dir_id = c.dir_id
  LEFT JOIN scan s ON s.tenant_id = d.tenant_id AND s.scan_id = d.last_seen_scan_id
  LEFT JOIN tier_object t ON t.tenant_id = c.tenant_id AND t.file_current_id = c.file_current_id
  WHERE c.missing_since_scan_id IS NULL;

-- The share as a scan saw it: the newest version of each file at or before the scan, unless REMOVED.
CREATE FUNCTION scan_snapshot(p_tenant uuid, p_share bigint, p_scan bigint) RETURNS SETOF file LANGUAGE sql STABLE AS $$
  SELECT v.* FROM file v
  WHERE v.tenant_id = p_tenant AND v.share_id = p_share AND v.scan_id <= p_scan AND v.change <> 'R'
    AND NOT EXISTS (SELECT FROM file n WHERE n.tenant_id = v.tenant_id AND n.share_id = v.share_id AND n.dir_id = v.dir_id
      AND n.name = v.name AND n.scan_id > v.scan_id AND n.scan_id <= p_scan)
$$;

-- The only ways across tenants: narrow functions of the maintenance role.
CREATE FUNCTION authenticate_key(p_secret_sha256 bytea)
  RETURNS TABLE (tenant_id uuid, key_id uuid, scopes text[], is_platform boolean)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.tenant_id, k.key_id, k.scopes, t.is_platform FROM public.api_key k JOIN public.tenant t ON t.tenant_id = k.tenant_id
  WHERE k.secret_sha256 = p_secret_sha256 AND k.revoked_utc IS NULL AND (k.expires_utc IS NULL OR k.expires_utc > now())
$$;
CREATE FUNCTION list_tenants() RETURNS SETOF tenant
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT * FROM public.tenant ORDER BY code $$;
CREATE FUNCTION create_tenant(p_tenant uuid, p_code text, p_name text, p_is_platform boolean) RETURNS tenant
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO public.tenant (tenant_id, code, name, is_platform) VALUES (p_tenant, p_code, p_name, p_is_platform) RETURNING *
$$;
-- Granted before they are handed over: afterwards only the maintenance role could.
REVOKE ALL ON FUNCTION authenticate_key(bytea), list_tenants(), create_tenant(uuid, text, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authenticate_key(bytea), list_tenants(), create_tenant(uuid, text, text, boolean) TO frostline_runtime;
GRANT CREATE ON SCHEMA public TO frostline_maintenance;
ALTER FUNCTION authenticate_key(bytea) OWNER TO frostline_maintenance;
ALTER FUNCTION list_tenants() OWNER TO frostline_maintenance;
ALTER FUNCTION create_tenant(uuid, text, text, boolean) OWNER TO frostline_maintenance;
REVOKE CREATE ON SCHEMA public FROM frostline_maintenance;
GRANT USAGE ON SCHEMA public TO frostline_runtime, frostline_maintenance;
GRANT SELECT, INSERT ON tenant TO frostline_maintenance;
GRANT SELECT ON api_key TO frostline_maintenance;

-- The runtime role: history, logs and ledgers are append-only; parents cannot be deleted.
GRANT SELECT ON ALL TABLES IN SCHEMA public TO frostline_runtime;
GRANT INSERT ON api_key, share, scan, scan_writer, ingest_chunk, scan_problem, dir, file, file_current, lucid_audit_cursor,
  lucid_audit_processed, audit_log, tier_rule, hold, tier_object, warming_event, retention_policy TO frostline_runtime;
GRANT UPDATE ON api_key, share, scan, scan_writer, dir, file_current, lucid_audit_cursor, tier_rule, tier_object, retention_policy TO frostline_runtime;
-- A row added by a scan that turns out to be a moved file gives way to the old identity.
GRANT DELETE ON file_current, hold, retention_policy TO frostline_runtime;
GRANT INSERT, UPDATE, DELETE ON staging_file, staging_dir, staging_diff, staging_lucid_audit TO frostline_runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO frostline_runtime;
