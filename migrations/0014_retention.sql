-- How long things are kept, and how they are erased: docs/retention.md.

ALTER TABLE retention_policy ADD CONSTRAINT retention_policy_keeps CHECK (keep_scans IS NOT NULL OR keep_days IS NOT NULL);

-- History up to this scan is purged: what later purges have to look at are the versions since.
ALTER TABLE share ADD COLUMN history_purged_to_scan_id bigint,
  -- Somebody asked for it to be erased; nothing may be done with it any more.
  ADD COLUMN erasing_utc timestamptz;
ALTER TABLE scan ADD COLUMN ledger_pruned_utc timestamptz, ADD COLUMN problems_pruned_utc timestamptz;
-- Events up to here may be gone: a watcher that was not as far is told.
ALTER TABLE warming_position ADD COLUMN pruned_to_position bigint NOT NULL DEFAULT 0;

-- Null: the default, in src/retention/bounds.ts.
CREATE TABLE retention_bound (
  tenant_id uuid NOT NULL PRIMARY KEY REFERENCES tenant (tenant_id),
  audit_log_days integer CHECK (audit_log_days > 0),
  ledger_days integer CHECK (ledger_days > 0),
  problem_days integer CHECK (problem_days > 0),
  warming_days integer CHECK (warming_days > 0),
  missing_days integer CHECK (missing_days > 0)
);
-- What each job removed, counted in the transactions that did.
CREATE TABLE retention_job (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  job text NOT NULL,
  last_run_utc timestamptz NOT NULL,
  last_removed bigint NOT NULL,
  total_removed bigint NOT NULL,
  -- Of the audit log: months before this one have been gone through.
  done_to_utc timestamptz,
  PRIMARY KEY (tenant_id, job)
);
-- Who had what erased. Without its name, once it is done.
CREATE TABLE erasure (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  erasure_id bigint GENERATED ALWAYS AS IDENTITY,
  kind text NOT NULL CHECK (kind IN ('SHARE', 'TENANT', 'PERSON')),
  share_id bigint,
  erased_tenant_id uuid,
  pending_name text COLLATE "C",
  requested_by text NOT NULL,
  requested_utc timestamptz NOT NULL DEFAULT now(),
  finished_utc timestamptz,
  rows_erased bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, erasure_id),
  CHECK ((kind = 'SHARE') = (share_id IS NOT NULL) AND (kind = 'TENANT') = (erased_tenant_id IS NOT NULL)),
  CHECK ((kind = 'PERSON' AND finished_utc IS NULL) = (pending_name IS NOT NULL))
);
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['retention_bound', 'retention_job', 'erasure'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON retention_bound, retention_job, erasure TO frostline_runtime;

-- Every function below sees the tenant that its caller has set, and no other: the maintenance role has no policy of its own there.

-- Of each of these names: the versions that a newer one at or before p_scan supersedes, and that newer one if it is REMOVED. All of
-- a name at once: without its REMOVED version, an older one would be the newest. Only where no scan before p_scan is readable
-- any more, so that whoever calls it, no snapshot that can be asked for changes.
CREATE FUNCTION purge_versions(p_tenant uuid, p_share bigint, p_scan bigint, p_dir_ids bigint[], p_names text[]) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE purged bigint;
BEGIN
  PERFORM FROM public.scan WHERE tenant_id = p_tenant AND share_id = p_share AND scan_id = p_scan AND status <> 'RUNNING';
  IF NOT FOUND OR EXISTS (SELECT FROM public.scan WHERE tenant_id = p_tenant AND share_id = p_share AND scan_id < p_scan AND history_purged_utc IS NULL) THEN
    RAISE EXCEPTION 'scans before % of share % are readable: their history stays', p_scan, p_share USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  WITH newest AS MATERIALIZED (
    SELECT k.dir_id, k.name, n.scan_id, n.change FROM (SELECT DISTINCT dir_id, name COLLATE "C" AS name FROM unnest(p_dir_ids, p_names) AS u (dir_id, name)) k
    CROSS JOIN LATERAL (
      SELECT v.scan_id, v.change FROM public.file v WHERE v.tenant_id = p_tenant AND v.share_id = p_share AND v.dir_id = k.dir_id AND v.name = k.name
        AND v.scan_id <= p_scan ORDER BY v.scan_id DESC LIMIT 1
    ) n
  ), old AS MATERIALIZED (
    SELECT v.dir_id, v.name, v.scan_id FROM newest n CROSS JOIN LATERAL (
      SELECT f.dir_id, f.name, f.scan_id FROM public.file f WHERE f.tenant_id = p_tenant AND f.share_id = p_share AND f.dir_id = n.dir_id AND f.name = n.name
        AND f.scan_id <= n.scan_id AND (f.scan_id < n.scan_id OR n.change = 'R') OFFSET 0
    ) v
  )
  DELETE FROM public.file f USING old o WHERE f.tenant_id = p_tenant AND f.share_id = p_share AND f.dir_id = o.dir_id AND f.name = o.name AND f.scan_id = o.scan_id;
  GET DIAGNOSTICS purged = ROW_COUNT;
  RETURN purged;
END $$;

-- Up to p_limit ledger rows, or problems, of a scan that has ended.
CREATE FUNCTION prune_scan_rows(p_tenant uuid, p_scan bigint, p_problems boolean, p_limit integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE pruned bigint;
BEGIN
  PERFORM FROM public.scan WHERE tenant_id = p_tenant AND scan_id = p_scan AND status <> 'RUNNING';
  IF NOT FOUND THEN RETURN 0; END IF;
  IF p_problems THEN
    DELETE FROM public.scan_problem WHERE tenant_id = p_tenant AND scan_id = p_scan AND (writer, chunk_no, ordinal) IN (
      SELECT writer, chunk_no, ordinal FROM public.scan_problem WHERE tenant_id = p_tenant AND scan_id = p_scan LIMIT p_limit);
  ELSE
    DELETE FROM public.ingest_chunk WHERE tenant_id = p_tenant AND scan_id = p_scan AND (writer, chunk_no) IN (
      SELECT writer, chunk_no FROM public.ingest_chunk WHERE tenant_id = p_tenant AND scan_id = p_scan LIMIT p_limit);
  END IF;
  GET DIAGNOSTICS pruned = ROW_COUNT;
  RETURN pruned;
END $$;

-- Of the p_limit oldest warming events those recorded before p_before. Positions are never used again, so that a watcher can tell
-- whether it missed any. Then storms that are over for as long and have no event left.
CREATE FUNCTION prune_warming(p_tenant uuid, p_before timestamptz, p_limit integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE events bigint; storms bigint; up_to bigint;
BEGIN
  SELECT max(position) FILTER (WHERE old) INTO up_to FROM (
    SELECT position, bool_and(recorded_utc < p_before) OVER (ORDER BY position) AS old
    FROM (SELECT position, recorded_utc FROM public.warming_event WHERE tenant_id = p_tenant ORDER BY position LIMIT p_limit) oldest
  ) run;
  DELETE FROM public.warming_event WHERE tenant_id = p_tenant AND position <= up_to;
  GET DIAGNOSTICS events = ROW_COUNT;
  DELETE FROM public.warming_storm s WHERE s.tenant_id = p_tenant AND s.recorded_utc < p_before AND s.until_utc < p_before AND NOT EXISTS (
    SELECT FROM public.warming_event e WHERE e.tenant_id = p_tenant AND e.share_id = s.share_id AND e.event_utc >= s.began_utc AND e.event_utc < s.until_utc);
  GET DIAGNOSTICS storms = ROW_COUNT;
  UPDATE public.warming_position SET pruned_to_position = greatest(pruned_to_position, up_to) WHERE tenant_id = p_tenant AND up_to IS NOT NULL;
  RETURN events + storms;
END $$;

-- Pages p_page to p_page + p_pages of every month of the audit log: forgets the tenant's rows recorded from p_from on and before p_before.
-- Null when there are no such pages. By pages, since no index has the time: one would cost every access that is logged. Each page is read once.
CREATE FUNCTION prune_audit_log(p_tenant uuid, p_from timestamptz, p_before timestamptz, p_page bigint, p_pages bigint) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE pruned bigint; size_pages bigint;
BEGIN
  IF p_before > now() - interval '1 day' THEN RAISE EXCEPTION 'the audit log of the last day stays' USING ERRCODE = 'object_not_in_prerequisite_state'; END IF;
  SELECT max(pg_relation_size(inhrelid)) / current_setting('block_size')::bigint INTO size_pages FROM pg_inherits WHERE inhparent = 'public.audit_log'::regclass;
  IF p_page >= size_pages THEN RETURN NULL; END IF;
  EXECUTE 'DELETE FROM public.audit_log WHERE tenant_id = $1 AND recorded_utc >= $2 AND recorded_utc < $3 AND ctid >= $4 AND ctid < $5'
    USING p_tenant, p_from, p_before, format('(%s,0)', p_page)::tid, format('(%s,0)', p_page + p_pages)::tid;
  GET DIAGNOSTICS pruned = ROW_COUNT;
  RETURN pruned;
END $$;

-- The same pages: takes a person's name out of the rows that have it.
CREATE FUNCTION erase_person_in_audit_log(p_tenant uuid, p_name text, p_page bigint, p_pages bigint) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE erased bigint; size_pages bigint;
BEGIN
  SELECT max(pg_relation_size(inhrelid)) / current_setting('block_size')::bigint INTO size_pages FROM pg_inherits WHERE inhparent = 'public.audit_log'::regclass;
  IF p_page >= size_pages THEN RETURN NULL; END IF;
  EXECUTE 'UPDATE public.audit_log SET actor = NULL WHERE tenant_id = $1 AND actor = $2 AND ctid >= $3 AND ctid < $4'
    USING p_tenant, p_name, format('(%s,0)', p_page)::tid, format('(%s,0)', p_page + p_pages)::tid;
  GET DIAGNOSTICS erased = ROW_COUNT;
  RETURN erased;
END $$;
-- And of the warming events at positions p_from to p_to, and of what waits for a file.
CREATE FUNCTION erase_person_in_warming(p_tenant uuid, p_name text, p_from bigint, p_to bigint) RETURNS bigint
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH events AS (
    UPDATE public.warming_event SET actor = NULL WHERE tenant_id = p_tenant AND position BETWEEN p_from AND p_to AND actor = p_name RETURNING 1
  ), waiting AS (
    UPDATE public.audit_waiting SET actor = NULL WHERE tenant_id = p_tenant AND actor = p_name RETURNING 1
  )
  SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM waiting)
$$;

-- Months of the audit log that are over since p_before and have no row of any tenant are dropped. Only a table's owner can; to see that no
-- tenant has a row there, row-level security is not forced on it for the moment, in a transaction that holds it alone.
CREATE FUNCTION drop_empty_audit_log_partitions(p_before timestamptz) RETURNS SETOF text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE part text; has_rows boolean;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
  FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'public.audit_log'::regclass
    AND c.relname ~ '^audit_log_\d{6}$' AND c.relname < 'audit_log_' || to_char(least(p_before, now() - interval '1 day') AT TIME ZONE 'UTC', 'YYYYMM')
  LOOP
    EXECUTE format('ALTER TABLE public.%I NO FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', part) INTO has_rows;
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', part);
    IF NOT has_rows THEN
      EXECUTE format('DROP TABLE public.%I', part);
      RETURN NEXT part;
    END IF;
  END LOOP;
END $$;

-- Up to p_limit rows of a share that is being erased; 0 when it is gone, its own row too. What is found first is what others point at last.
CREATE FUNCTION erase_share_rows(p_tenant uuid, p_share bigint, p_limit integer) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE erased bigint; dirs bigint[]; files bigint[]; scans bigint[]; volume text; t text;
BEGIN
  SELECT volume_id INTO volume FROM public.share WHERE tenant_id = p_tenant AND share_id = p_share AND erasing_utc IS NOT NULL;
  IF NOT FOUND THEN RETURN 0; END IF;
  DELETE FROM public.file v USING (
    SELECT dir_id, name, scan_id FROM public.file WHERE tenant_id = p_tenant AND share_id = p_share ORDER BY dir_id, name, scan_id LIMIT p_limit
  ) o WHERE v.tenant_id = p_tenant AND v.share_id = p_share AND v.dir_id = o.dir_id AND v.name = o.name AND v.scan_id = o.scan_id;
  GET DIAGNOSTICS erased = ROW_COUNT;
  IF erased > 0 THEN RETURN erased; END IF;

  dirs := ARRAY(SELECT dir_id FROM public.dir WHERE tenant_id = p_tenant AND share_id = p_share ORDER BY path_digest LIMIT least(p_limit, 200));
  files := ARRAY(SELECT f.id FROM unnest(dirs) AS d (dir_id) CROSS JOIN LATERAL (
    (SELECT file_current_id AS id FROM public.file_current WHERE tenant_id = p_tenant AND dir_id = d.dir_id AND missing_since_scan_id IS NULL LIMIT p_limit)
    UNION ALL (SELECT file_current_id FROM public.file_current WHERE tenant_id = p_tenant AND dir_id = d.dir_id AND missing_since_scan_id IS NOT NULL LIMIT p_limit)
  ) f LIMIT p_limit);
  IF cardinality(files) > 0 THEN
    DELETE FROM public.warming_event e USING public.tier_object t WHERE e.tenant_id = p_tenant AND t.tenant_id = p_tenant AND e.tier_id = t.tier_id AND t.file_current_id = ANY(files);
    DELETE FROM public.tier_object WHERE tenant_id = p_tenant AND file_current_id = ANY(files);
    DELETE FROM public.audit_log WHERE tenant_id = p_tenant AND file_current_id = ANY(files);
    DELETE FROM public.file_current WHERE tenant_id = p_tenant AND file_current_id = ANY(files);
    RETURN cardinality(files);
  END IF;
  IF cardinality(dirs) > 0 THEN
    DELETE FROM public.dir WHERE tenant_id = p_tenant AND dir_id = ANY(dirs);
    RETURN cardinality(dirs);
  END IF;

  scans := ARRAY(SELECT scan_id FROM public.scan WHERE tenant_id = p_tenant AND share_id = p_share);
  DELETE FROM public.ingest_chunk WHERE tenant_id = p_tenant AND scan_id = ANY(scans) AND (scan_id, writer, chunk_no) IN (
    SELECT scan_id, writer, chunk_no FROM public.ingest_chunk WHERE tenant_id = p_tenant AND scan_id = ANY(scans) LIMIT p_limit);
  GET DIAGNOSTICS erased = ROW_COUNT;
  IF erased > 0 THEN RETURN erased; END IF;
  DELETE FROM public.scan_problem WHERE tenant_id = p_tenant AND scan_id = ANY(scans) AND (scan_id, writer, chunk_no, ordinal) IN (
    SELECT scan_id, writer, chunk_no, ordinal FROM public.scan_problem WHERE tenant_id = p_tenant AND scan_id = ANY(scans) LIMIT p_limit);
  GET DIAGNOSTICS erased = ROW_COUNT;
  IF erased > 0 THEN RETURN erased; END IF;
  DELETE FROM public.lucid_audit_processed WHERE tenant_id = p_tenant AND volume_id = volume AND audit_event_id IN (
    SELECT audit_event_id FROM public.lucid_audit_processed WHERE tenant_id = p_tenant AND volume_id = volume LIMIT p_limit);
  GET DIAGNOSTICS erased = ROW_COUNT;
  IF erased > 0 THEN RETURN erased; END IF;

  DELETE FROM public.lucid_audit_cursor WHERE tenant_id = p_tenant AND volume_id = volume;
  DELETE FROM public.scan_writer WHERE tenant_id = p_tenant AND scan_id = ANY(scans);
  FOREACH t IN ARRAY ARRAY['audit_log', 'audit_waiting', 'warming_event', 'warming_storm', 'tier_plan', 'hold', 'audit_exclusion', 'retention_policy', 'scan', 'share'] LOOP
    EXECUTE format('DELETE FROM public.%I WHERE tenant_id = $1 AND share_id = $2', t) USING p_tenant, p_share;
  END LOOP;
  RETURN 1;
END $$;

-- What is left of a tenant once its shares are gone, and the tenant: every table that has one, whichever migration made it. Tables that others
-- point at come in a later round. Errors: object_not_in_prerequisite_state while it has shares, or is the platform's.
CREATE FUNCTION erase_tenant_rows(p_tenant uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE t text; again boolean := true;
BEGIN
  IF EXISTS (SELECT FROM public.share WHERE tenant_id = p_tenant) OR EXISTS (SELECT FROM public.tenant WHERE tenant_id = p_tenant AND is_platform) THEN
    RAISE EXCEPTION 'tenant % has shares, or is the platform', p_tenant USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF p_tenant IS DISTINCT FROM public.current_tenant() THEN
    RAISE EXCEPTION 'tenant % is not the one that is set', p_tenant USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  WHILE again LOOP
    again := false;
    FOR t IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
      WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relrowsecurity
    LOOP
      BEGIN
        EXECUTE format('DELETE FROM public.%I WHERE tenant_id = $1', t) USING p_tenant;
      EXCEPTION WHEN foreign_key_violation THEN again := true;
      END;
    END LOOP;
  END LOOP;
END $$;

DO $$
DECLARE f regprocedure;
BEGIN
  GRANT CREATE ON SCHEMA public TO frostline_maintenance;
  FOR f IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND proname = ANY (ARRAY['purge_versions', 'prune_scan_rows',
    'prune_warming', 'prune_audit_log', 'erase_person_in_audit_log', 'erase_person_in_warming', 'drop_empty_audit_log_partitions', 'erase_share_rows', 'erase_tenant_rows'])
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO frostline_runtime', f);
    CONTINUE WHEN f::text LIKE '%drop_empty_audit_log_partitions%';
    EXECUTE format('ALTER FUNCTION %s OWNER TO frostline_maintenance', f);
  END LOOP;
  REVOKE CREATE ON SCHEMA public FROM frostline_maintenance;
END $$;
GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA public TO frostline_maintenance;
REVOKE ALL ON schema_migration, staging_file, staging_dir, staging_diff FROM frostline_maintenance;
-- Tables that come later hold what is to be erased as well.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, DELETE ON TABLES TO frostline_maintenance;
GRANT UPDATE (actor) ON audit_log, warming_event, audit_waiting TO frostline_maintenance;
GRANT UPDATE (pruned_to_position) ON warming_position TO frostline_maintenance;
GRANT EXECUTE ON FUNCTION current_tenant() TO frostline_maintenance;
