-- History is appended in the order of scans, so the ranges of a BRIN index find a scan's versions as
-- well as a b-tree did, for a thousandth of its size and next to none of its cost: measured on a
-- first scan, a quarter of PostgreSQL's CPU went into that b-tree.
DROP INDEX file_by_scan;
CREATE INDEX file_by_scan ON file USING brin (scan_id) WITH (pages_per_range = 32, autosummarize = on);

-- Also summarizes what the scan appended: until a range is, every look by scan reads it.
CREATE OR REPLACE FUNCTION analyze_tenant(p_tenant uuid) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET default_statistics_target = 100 AS $$
DECLARE part regclass;
BEGIN
  ANALYZE public.dir;
  -- A tenant's rows are in one partition of each; a policy hides them from a caller who is not the tenant.
  FOR part IN
    (SELECT tableoid FROM public.file WHERE tenant_id = p_tenant LIMIT 1) UNION ALL
    (SELECT tableoid FROM public.file_current WHERE tenant_id = p_tenant LIMIT 1)
  LOOP
    EXECUTE format('ANALYZE %s', part);
    PERFORM brin_summarize_new_values(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
    WHERE i.indrelid = part AND a.amname = 'brin';
  END LOOP;
END $$;
