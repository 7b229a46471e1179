-- How long a file that came back is left alone, and how often it came back so soon that the next time is longer.
ALTER TABLE tier_object
  ADD COLUMN resident_until_utc timestamptz,
  ADD COLUMN rehydration_count integer NOT NULL DEFAULT 0;

-- More than so many different tiered files accessed within a minute are a storm: something reads all, and no person.
ALTER TABLE share ADD COLUMN storm_files_per_minute integer NOT NULL DEFAULT 120,
  ADD CONSTRAINT share_storm_files_per_minute CHECK (storm_files_per_minute > 0);

-- A storm, as long as it lasts: accesses in its time ask for nothing to be rehydrated.
CREATE TABLE warming_storm (
  tenant_id uuid NOT NULL,
  -- Out of the same count as those of warming_event: a watcher is told of each storm once, in its place.
  position bigint NOT NULL,
  share_id bigint NOT NULL,
  -- By the time of the events: minutes over the limit, and the time of quiet after the last one.
  began_utc timestamptz NOT NULL,
  over_until_utc timestamptz NOT NULL,
  until_utc timestamptz NOT NULL,
  -- In the minute that made it one, by what was known then.
  files bigint NOT NULL,
  files_per_minute_limit integer NOT NULL,
  -- Accesses that came while it lasted.
  accesses bigint NOT NULL,
  recorded_utc timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, position),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id)
);
CREATE INDEX warming_storm_by_share ON warming_storm (tenant_id, share_id, until_utc);
ALTER TABLE warming_storm ENABLE ROW LEVEL SECURITY;
ALTER TABLE warming_storm FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON warming_storm USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT ON warming_storm TO frostline_runtime;
GRANT UPDATE (over_until_utc, until_utc, accesses) ON warming_storm TO frostline_runtime;

-- The last position given away. Whoever takes one holds the row until the commit: positions become visible in their order.
CREATE TABLE warming_position (
  tenant_id uuid NOT NULL PRIMARY KEY REFERENCES tenant (tenant_id),
  last_position bigint NOT NULL
);
ALTER TABLE warming_position ENABLE ROW LEVEL SECURITY;
ALTER TABLE warming_position FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON warming_position USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT, UPDATE ON warming_position TO frostline_runtime;

ALTER TABLE warming_event
  -- That of the tier object.
  ADD COLUMN share_id bigint,
  ADD COLUMN event_id text COLLATE "C",
  -- In a storm: it does not count towards its rule's policy.
  ADD COLUMN in_storm boolean NOT NULL DEFAULT false;

-- Of every tenant: the owner obeys its policies, but for this moment.
ALTER TABLE warming_event NO FORCE ROW LEVEL SECURITY;
ALTER TABLE tier_object NO FORCE ROW LEVEL SECURITY;
ALTER TABLE warming_position NO FORCE ROW LEVEL SECURITY;
UPDATE warming_event e SET share_id = t.share_id FROM tier_object t WHERE t.tenant_id = e.tenant_id AND t.tier_id = e.tier_id;
INSERT INTO warming_position (tenant_id, last_position) SELECT tenant_id, max(position) FROM warming_event GROUP BY tenant_id;
ALTER TABLE warming_event FORCE ROW LEVEL SECURITY;
ALTER TABLE tier_object FORCE ROW LEVEL SECURITY;
ALTER TABLE warming_position FORCE ROW LEVEL SECURITY;

ALTER TABLE warming_event ALTER COLUMN share_id SET NOT NULL, ALTER COLUMN recorded_utc DROP DEFAULT,
  ALTER COLUMN actor TYPE text COLLATE "C", ALTER COLUMN host TYPE text COLLATE "C";
-- Lists and watches of one share; how many accesses an object had; how many files a minute had.
CREATE INDEX warming_event_by_share ON warming_event (tenant_id, share_id, position);
CREATE INDEX warming_event_by_object ON warming_event (tenant_id, tier_id, event_utc);
CREATE INDEX warming_event_by_time ON warming_event (tenant_id, share_id, event_utc);
