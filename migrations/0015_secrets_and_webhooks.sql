-- Data keys of tenants (docs/secrets.md), webhooks (docs/webhooks.md), and what is told of shares.

-- kms_ref and encrypted_dek are of the key number dek_no. While secrets are sealed anew under it, the one before is kept as well.
ALTER TABLE tenant
  ADD COLUMN dek_no integer NOT NULL DEFAULT 0,
  ADD COLUMN previous_kms_ref text,
  ADD COLUMN previous_encrypted_dek text,
  ADD CONSTRAINT tenant_data_key CHECK (dek_no >= 0 AND (dek_no = 0) = (encrypted_dek = '') AND (dek_no = 0) = (kms_ref = 'none')),
  ADD CONSTRAINT tenant_previous_data_key CHECK ((previous_kms_ref IS NULL) = (previous_encrypted_dek IS NULL) AND (previous_kms_ref IS NULL OR dek_no > 1));

ALTER TABLE share
  ADD CONSTRAINT share_stale_scan_alarm CHECK (stale_scan_alarm_seconds > 0),
  -- Since when webhooks know that it is stale.
  ADD COLUMN stale_told_utc timestamptz;
-- That its brake holds was told.
ALTER TABLE scan ADD COLUMN brake_told_utc timestamptz;

CREATE TABLE webhook (
  tenant_id uuid NOT NULL REFERENCES tenant (tenant_id),
  webhook_id uuid NOT NULL DEFAULT gen_random_uuid(),
  url text NOT NULL,
  description text NOT NULL,
  event_types text[] NOT NULL CHECK (cardinality(event_types) > 0),
  -- Null: of every share.
  share_id bigint,
  include_paths boolean NOT NULL,
  include_people boolean NOT NULL,
  -- Sealed under the tenant's data key. The one before signs too, until then.
  secret text NOT NULL,
  previous_secret text,
  previous_until_utc timestamptz,
  -- Warming events and storms up to here are among its deliveries, or were not for it.
  warming_position bigint NOT NULL,
  last_success_utc timestamptz,
  disabled_utc timestamptz,
  disabled_reason text,
  created_utc timestamptz NOT NULL DEFAULT now(),
  created_by text NOT NULL,
  updated_utc timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, webhook_id),
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id) ON DELETE CASCADE,
  CHECK ((previous_secret IS NULL) = (previous_until_utc IS NULL)),
  CHECK ((disabled_utc IS NULL) = (disabled_reason IS NULL))
);

-- What is to be told, and was. It refers to what it tells of, and holds no path and no person's name: those are read when it is sent.
CREATE TABLE webhook_delivery (
  tenant_id uuid NOT NULL,
  delivery_id uuid NOT NULL DEFAULT gen_random_uuid(),
  webhook_id uuid NOT NULL,
  event_type text NOT NULL,
  -- Null: of a test.
  share_id bigint,
  -- Of warming: the first and the last position that it tells of.
  from_position bigint,
  to_position bigint,
  -- Of a share or a scan: figures as they were.
  facts jsonb,
  state text NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'DELIVERED', 'DEAD')),
  attempts integer NOT NULL DEFAULT 0,
  created_utc timestamptz NOT NULL DEFAULT now(),
  -- While PENDING: the next attempt, or the end of the lease of the one that is under way.
  next_attempt_utc timestamptz,
  last_attempt_utc timestamptz,
  last_status integer,
  last_error text,
  finished_utc timestamptz,
  PRIMARY KEY (tenant_id, delivery_id),
  FOREIGN KEY (tenant_id, webhook_id) REFERENCES webhook (tenant_id, webhook_id) ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, share_id) REFERENCES share (tenant_id, share_id) ON DELETE CASCADE,
  CHECK ((state = 'PENDING') = (next_attempt_utc IS NOT NULL) AND (state = 'PENDING') = (finished_utc IS NULL)),
  CHECK ((from_position IS NULL) = (to_position IS NULL) AND from_position <= to_position)
);
CREATE INDEX webhook_delivery_due ON webhook_delivery (next_attempt_utc) WHERE state = 'PENDING';
CREATE INDEX webhook_delivery_pending ON webhook_delivery (webhook_id, next_attempt_utc) WHERE state = 'PENDING';
CREATE INDEX webhook_delivery_finished ON webhook_delivery (webhook_id, finished_utc) WHERE state <> 'PENDING';
-- For the cascade of a share that is erased.
CREATE INDEX webhook_delivery_by_share ON webhook_delivery (share_id);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['webhook', 'webhook_delivery'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant_only ON %I USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()))', t);
    -- Whose turn it is, and how much waits.
    EXECUTE format('CREATE POLICY maintenance ON %I FOR SELECT TO frostline_maintenance USING (true)', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook, webhook_delivery TO frostline_runtime;

-- Tenants that have webhooks in use; those that have deliveries that are due.
CREATE FUNCTION webhook_tenants() RETURNS TABLE (tenant_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT w.tenant_id FROM public.webhook w WHERE w.disabled_utc IS NULL
$$;
CREATE FUNCTION webhook_tenants_due() RETURNS TABLE (tenant_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT d.tenant_id FROM public.webhook_delivery d WHERE d.state = 'PENDING' AND d.next_attempt_utc <= now()
$$;
-- Of all tenants together: how many deliveries wait, and since when the oldest does.
CREATE FUNCTION webhook_backlog() RETURNS TABLE (pending bigint, dead bigint, oldest_utc timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT count(*) FILTER (WHERE d.state = 'PENDING'), count(*) FILTER (WHERE d.state = 'DEAD'), min(d.created_utc) FILTER (WHERE d.state = 'PENDING')
  FROM public.webhook_delivery d WHERE d.state IN ('PENDING', 'DEAD')
$$;

-- Puts another data key in place, if the current one and its wrapping are still those that the caller has seen: 1, else 0. Of the tenant that is set.
CREATE FUNCTION set_data_key(p_tenant uuid, p_seen_no integer, p_seen_dek text, p_seen_previous text, p_no integer, p_ref text, p_dek text,
  p_previous_ref text, p_previous_dek text) RETURNS bigint
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE changed bigint;
BEGIN
  UPDATE public.tenant SET dek_no = p_no, kms_ref = p_ref, encrypted_dek = p_dek, previous_kms_ref = p_previous_ref,
    previous_encrypted_dek = p_previous_dek, updated_utc = now()
  WHERE tenant_id = p_tenant AND tenant_id = public.current_tenant() AND dek_no = p_seen_no AND encrypted_dek = p_seen_dek
    AND previous_encrypted_dek IS NOT DISTINCT FROM p_seen_previous AND p_no BETWEEN p_seen_no AND p_seen_no + 1;
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END $$;

DO $$
DECLARE f regprocedure;
BEGIN
  GRANT CREATE ON SCHEMA public TO frostline_maintenance;
  FOR f IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    AND proname = ANY (ARRAY['webhook_tenants', 'webhook_tenants_due', 'webhook_backlog', 'set_data_key'])
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO frostline_runtime', f);
    EXECUTE format('ALTER FUNCTION %s OWNER TO frostline_maintenance', f);
  END LOOP;
  REVOKE CREATE ON SCHEMA public FROM frostline_maintenance;
END $$;
GRANT UPDATE (dek_no, kms_ref, encrypted_dek, previous_kms_ref, previous_encrypted_dek, updated_utc) ON tenant TO frostline_maintenance;
