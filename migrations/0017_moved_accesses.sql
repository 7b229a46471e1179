-- A file that moves while a scan runs has two rows until the scan's end, when the newer one gives way. Audit events
-- may have told of that one meanwhile: their accesses are the file's that stays, and so are the rows of the audit log.

-- Where history has the file that gives way: an event may have moved its row on since the scan saw it.
ALTER TABLE staging_diff ADD COLUMN dir_id bigint;
ALTER TABLE staging_diff ADD COLUMN name text COLLATE "C";

GRANT UPDATE (file_current_id) ON audit_log TO frostline_maintenance;
GRANT CREATE ON SCHEMA public TO frostline_maintenance;
SET LOCAL ROLE frostline_maintenance;
-- As in 0003, and the log's rows of what gives way become those of the file that stays.
CREATE OR REPLACE FUNCTION adopt_identity(p_tenant uuid, p_share bigint, p_scan bigint, p_dir_ids bigint[], p_names text[],
    p_file_current_ids bigint[], p_file_hashes bytea[]) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE adopted bigint; logged record; since timestamptz;
BEGIN
  -- Of rows that this scan added nothing was logged before it began; a day, for transactions that began before it.
  SELECT started_utc - interval '1 day' INTO since FROM public.scan WHERE tenant_id = p_tenant AND scan_id = p_scan AND share_id = p_share AND status = 'RUNNING';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'scan % is not RUNNING: its history no longer changes', p_scan USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  -- Few, as a rule none: a look into the index for each version, and a statement for each that has any.
  FOR logged IN
    SELECT v.file_current_id AS gives_way, n.file_current_id AS stays
    FROM unnest(p_dir_ids, p_names, p_file_current_ids) AS n (dir_id, name, file_current_id)
    CROSS JOIN LATERAL (
      SELECT h.file_current_id FROM public.file h
      WHERE h.tenant_id = p_tenant AND h.share_id = p_share AND h.scan_id = p_scan AND h.dir_id = n.dir_id AND h.name = n.name COLLATE "C" AND h.change <> 'R' OFFSET 0
    ) v
    CROSS JOIN LATERAL (
      SELECT FROM public.audit_log l WHERE l.tenant_id = p_tenant AND l.file_current_id = v.file_current_id AND l.recorded_utc >= since LIMIT 1
    ) l
  LOOP
    UPDATE public.audit_log SET file_current_id = logged.stays
    WHERE tenant_id = p_tenant AND file_current_id = logged.gives_way AND recorded_utc >= since;
  END LOOP;
  UPDATE public.file v SET file_current_id = n.file_current_id, file_hash = coalesce(v.file_hash, n.file_hash)
  FROM unnest(p_dir_ids, p_names, p_file_current_ids, p_file_hashes) AS n (dir_id, name, file_current_id, file_hash)
  WHERE v.tenant_id = p_tenant AND v.share_id = p_share AND v.scan_id = p_scan AND v.dir_id = n.dir_id AND v.name = n.name COLLATE "C" AND v.change <> 'R';
  GET DIAGNOSTICS adopted = ROW_COUNT;
  RETURN adopted;
END $$;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM frostline_maintenance;
