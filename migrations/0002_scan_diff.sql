-- What differs between two scans of a share: one row per path whose newest versions up to p_from and up to p_to
-- are not the same, with the values of the later scan (of a removed file, the last known).
-- Reads the versions in (p_from, p_to], and for their paths alone the newest one before.
-- One plain SELECT, STABLE and without settings of its own, so that the planner inlines it and prunes partitions.
CREATE FUNCTION scan_diff(p_tenant uuid, p_share bigint, p_from bigint, p_to bigint)
  RETURNS TABLE (difference "char", dir_id bigint, name text, file_current_id bigint, link_count integer, size_bytes bigint,
    allocated_bytes bigint, atime_unix bigint, mtime_unix bigint, ctime_unix bigint, frn bigint, owner text, file_hash bytea)
  LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN n.change = 'R' THEN 'R'::"char" WHEN o.dir_id IS NULL OR o.change = 'R' THEN 'A'::"char" ELSE 'C'::"char" END,
    n.dir_id, n.name, n.file_current_id, n.link_count, n.size_bytes, n.allocated_bytes, n.atime_unix, n.mtime_unix, n.ctime_unix,
    n.frn, n.owner, n.file_hash
  FROM (
    SELECT DISTINCT ON (v.dir_id, v.name) v.* FROM file v
    WHERE v.tenant_id = p_tenant AND v.share_id = p_share AND v.scan_id > p_from AND v.scan_id <= p_to
    ORDER BY v.dir_id, v.name, v.scan_id DESC
  ) n
  LEFT JOIN LATERAL (
    SELECT b.* FROM file b
    WHERE b.tenant_id = p_tenant AND b.tenant_id = n.tenant_id AND b.share_id = n.share_id AND b.dir_id = n.dir_id AND b.name = n.name
      AND b.scan_id <= p_from
    ORDER BY b.scan_id DESC LIMIT 1
  ) o ON o.tenant_id = n.tenant_id
  WHERE CASE WHEN n.change = 'R' OR o.dir_id IS NULL OR o.change = 'R'
    -- One of the two does not have the file: a difference unless neither has it.
    THEN (n.change = 'R') <> (o.dir_id IS NULL OR o.change = 'R')
    ELSE (n.link_count, n.size_bytes, n.allocated_bytes, n.atime_unix, n.mtime_unix, n.ctime_unix, n.frn, n.owner, n.file_hash)
      IS DISTINCT FROM (o.link_count, o.size_bytes, o.allocated_bytes, o.atime_unix, o.mtime_unix, o.ctime_unix, o.frn, o.owner, o.file_hash)
    END
$$;
