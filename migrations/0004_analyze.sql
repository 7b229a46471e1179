-- Statistics right after a scan that changed much, rather than when autovacuum comes round: until
-- then a join of a million files may be planned as if there were ten. ANALYZE needs the owner, so
-- this function is the owner's; it looks at no rows and returns nothing.
CREATE FUNCTION analyze_tenant(p_tenant uuid) RETURNS void
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
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION analyze_tenant(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analyze_tenant(uuid) TO frostline_runtime;
