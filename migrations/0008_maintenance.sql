-- What background jobs need: to forget, and to make room ahead of time. And an index that misled the planner.

-- Processed events are forgotten in the order in which they came. Rows of one transaction share their
-- time, so the index folds them together and stays small.
CREATE INDEX lucid_audit_processed_by_time ON lucid_audit_processed (tenant_id, processed_utc);

-- Both indexes of missing files served a look-up by name, and while few files are missing the planner takes them for
-- equally small: then each name of a batch read the entries of all missing files. A scan's number is positive, which
-- only a query for the files of one scan proves.
DROP INDEX file_current_missing_scan;
CREATE INDEX file_current_missing_scan ON file_current (tenant_id, share_id, missing_since_scan_id) WHERE missing_since_scan_id > 0;

-- Looks at up to p_limit processed events of the tenant, the oldest from p_from on, and forgets those that lie
-- behind their file's cursor: no agent sends them again. An id is file:generation:offset, see docs/schema.md.
-- The caller's tenant is set: the maintenance role sees that tenant's rows and no other.
CREATE FUNCTION prune_audit_processed(p_tenant uuid, p_from timestamptz, p_before timestamptz, p_limit integer)
  RETURNS TABLE (seen bigint, pruned bigint, until_utc timestamptz)
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH oldest AS MATERIALIZED (
    SELECT volume_id, audit_event_id, processed_utc FROM public.lucid_audit_processed
    WHERE tenant_id = p_tenant AND processed_utc >= p_from AND processed_utc < p_before ORDER BY processed_utc LIMIT p_limit
  ), reached AS MATERIALIZED (
    SELECT volume_id, generation, last_position,
      translate(left(encode(sha256(convert_to(audit_file_path, 'UTF8')), 'base64'), 16), '+/', '-_') AS file_key
    FROM public.lucid_audit_cursor WHERE tenant_id = p_tenant
  ), behind AS (
    SELECT o.volume_id, o.audit_event_id FROM oldest o
    JOIN reached r ON r.volume_id = o.volume_id AND r.file_key = split_part(o.audit_event_id, ':', 1)
    WHERE (split_part(o.audit_event_id, ':', 2)::integer, split_part(o.audit_event_id, ':', 3)::bigint) < (r.generation, r.last_position)
  ), gone AS (
    DELETE FROM public.lucid_audit_processed p USING behind b
    WHERE p.tenant_id = p_tenant AND p.volume_id = b.volume_id AND p.audit_event_id = b.audit_event_id
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM oldest), (SELECT count(*) FROM gone), (SELECT max(processed_utc) FROM oldest)
$$;

-- A partition of audit_log for this month and for p_months_ahead more, in UTC. Only a table's owner attaches
-- partitions, so this function is the owner's. Rows of a month that were recorded before it had a partition lie in
-- the default one, which refuses the new one as long as it holds them: they are moved. The owner obeys
-- row-level security like everyone; to move rows of all tenants it is not forced, on these two tables and within
-- this transaction, which holds them alone.
CREATE FUNCTION make_audit_log_partitions(p_months_ahead integer) RETURNS SETOF text
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  first timestamptz;
  next timestamptz;
  name text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('audit_log partitions', 0));
  FOR ahead IN 0..p_months_ahead LOOP
    first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead)) AT TIME ZONE 'UTC';
    next := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead + 1)) AT TIME ZONE 'UTC';
    name := 'audit_log_' || to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
    CONTINUE WHEN to_regclass('public.' || name) IS NOT NULL;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.audit_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    ALTER TABLE public.audit_log_default NO FORCE ROW LEVEL SECURITY;
    EXECUTE format('WITH moved AS (DELETE FROM public.audit_log_default WHERE recorded_utc >= $1 AND recorded_utc < $2 RETURNING *)
      INSERT INTO public.%I SELECT * FROM moved', name) USING first, next;
    ALTER TABLE public.audit_log_default FORCE ROW LEVEL SECURITY;
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE public.audit_log ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', name, first, next);
    RETURN NEXT name;
  END LOOP;
END $$;

REVOKE ALL ON FUNCTION prune_audit_processed(uuid, timestamptz, timestamptz, integer), make_audit_log_partitions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION prune_audit_processed(uuid, timestamptz, timestamptz, integer), make_audit_log_partitions(integer) TO frostline_runtime;
GRANT CREATE ON SCHEMA public TO frostline_maintenance;
ALTER FUNCTION prune_audit_processed(uuid, timestamptz, timestamptz, integer) OWNER TO frostline_maintenance;
REVOKE CREATE ON SCHEMA public FROM frostline_maintenance;
GRANT SELECT, DELETE ON lucid_audit_processed TO frostline_maintenance;
GRANT SELECT ON lucid_audit_cursor TO frostline_maintenance;

SELECT make_audit_log_partitions(2);
