-- The most files that a scan may mark missing is found out when it comes near: counting a share's files at the start of each scan read the
-- whole partition, other shares' and tenants' files too.
ALTER TABLE scan ALTER COLUMN brake_limit DROP NOT NULL;

-- Right after a scan a rough estimate does; autovacuum makes it finer. From 9,000 rows of a table of a million instead of 30,000 it takes a
-- quarter of the time, on a path that an agent waits for.
ALTER FUNCTION analyze_tenant(uuid) SET default_statistics_target = 30;
