-- What a scan needs to know and may do so that a moved file stays the same file.

-- Inode numbers are used again at once, the numbers of an NTFS volume are not (they carry a
-- sequence): only a source of the second kind lets a moved file be told by its number alone.
ALTER TABLE scan ADD COLUMN unique_frn boolean NOT NULL DEFAULT false;

-- A difference carries the hash that is to be stored, and for a move the row that gives way.
ALTER TABLE staging_diff DROP COLUMN keep_hash;
ALTER TABLE staging_diff ADD COLUMN other_file_current_id bigint;
ALTER TABLE staging_diff ADD COLUMN file_hash bytea;

-- History is append-only for the runtime role. One exception, and only for versions of a scan
-- that is still RUNNING: a file that the scan added turns out to be one that moved there, so its
-- version is given that file's identity (and the hash that is known of it).
CREATE FUNCTION adopt_identity(p_tenant uuid, p_share bigint, p_scan bigint, p_dir_ids bigint[], p_names text[],
    p_file_current_ids bigint[], p_file_hashes bytea[]) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE adopted bigint;
BEGIN
  PERFORM FROM public.scan WHERE tenant_id = p_tenant AND scan_id = p_scan AND share_id = p_share AND status = 'RUNNING';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'scan % is not RUNNING: its history no longer changes', p_scan USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  UPDATE public.file v SET file_current_id = n.file_current_id, file_hash = coalesce(v.file_hash, n.file_hash)
  FROM unnest(p_dir_ids, p_names, p_file_current_ids, p_file_hashes) AS n (dir_id, name, file_current_id, file_hash)
  WHERE v.tenant_id = p_tenant AND v.share_id = p_share AND v.scan_id = p_scan AND v.dir_id = n.dir_id AND v.name = n.name COLLATE "C" AND v.change <> 'R';
  GET DIAGNOSTICS adopted = ROW_COUNT;
  RETURN adopted;
END $$;
REVOKE ALL ON FUNCTION adopt_identity(uuid, bigint, bigint, bigint[], text[], bigint[], bytea[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION adopt_identity(uuid, bigint, bigint, bigint[], text[], bigint[], bytea[]) TO frostline_runtime;
GRANT CREATE ON SCHEMA public TO frostline_maintenance;
ALTER FUNCTION adopt_identity(uuid, bigint, bigint, bigint[], text[], bigint[], bytea[]) OWNER TO frostline_maintenance;
REVOKE CREATE ON SCHEMA public FROM frostline_maintenance;
GRANT SELECT ON scan TO frostline_maintenance;
GRANT SELECT, UPDATE (file_current_id, file_hash) ON file TO frostline_maintenance;
