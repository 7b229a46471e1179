-- What movers, scans and the planner have to know of a tier object.

-- Never written.
ALTER TABLE tier_object DROP COLUMN stub_fingerprint, DROP COLUMN last_seen_utc;

ALTER TABLE tier_object
  ADD COLUMN rule_version integer,
  ADD COLUMN plan_id bigint,
  -- The file as it was planned: a mover must find it so, and while it is tiered it goes on having this size and these times.
  ADD COLUMN planned_size_bytes bigint,
  ADD COLUMN planned_mtime_unix bigint,
  ADD COLUMN planned_frn bigint,
  -- Where the mover put the content, below target_uri.
  ADD COLUMN object_uri text,
  -- The stub as the mover made it, announced before it takes the file's place: a scan never opens files, so it knows a stub by these.
  ADD COLUMN stub_size_bytes bigint,
  ADD COLUMN stub_mtime_unix bigint,
  ADD COLUMN stub_frn bigint,
  -- Kept when the lease ends without a report: a report that is late counts as long as nobody else has claimed the object.
  ADD COLUMN lease_token uuid,
  -- From when on it may be claimed, where something is wanted.
  ADD COLUMN claimable_utc timestamptz NOT NULL
    GENERATED ALWAYS AS (coalesce(greatest(lease_until_utc, retry_after_utc), '-infinity'::timestamptz)) STORED,
  -- The last report that ended a lease: the same one again gets the same answer.
  ADD COLUMN reported_token uuid,
  ADD COLUMN reported_outcome text,
  ADD COLUMN reported_state text,
  ADD CONSTRAINT tier_object_wanted_in_state CHECK (wanted_action IS NULL OR (state, wanted_action) IN
    (('PLANNED', 'STUB'), ('STUBBED', 'REHYDRATE'), ('REHYDRATED', 'DELETE_TARGET'), ('DELETED', 'DELETE_TARGET')));

DROP INDEX tier_object_by_state;
CREATE INDEX tier_object_by_share ON tier_object (tenant_id, share_id, state, tier_id);
CREATE INDEX tier_object_to_claim ON tier_object (tenant_id, wanted_action, claimable_utc, tier_id) WHERE wanted_action IS NOT NULL;
-- Stubs that a scan meets under another name.
CREATE INDEX tier_object_by_stub ON tier_object (tenant_id, share_id, stub_frn) WHERE stub_frn IS NOT NULL;

-- Why a tier state changed is told with the change.
ALTER TABLE audit_log ADD COLUMN reason text;
