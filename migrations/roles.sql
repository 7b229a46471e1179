-- The three roles, made once per cluster by a superuser before the first `frostline migrate`.
-- None may see past row-level security. Give owner and runtime a password of your own.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'frostline_owner') THEN
    -- NOINHERIT: a member that inherits falls under the maintenance role's policies too, and then
    -- the owner's views would show every tenant's rows.
    CREATE ROLE frostline_owner LOGIN NOSUPERUSER NOBYPASSRLS NOINHERIT;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'frostline_runtime') THEN
    CREATE ROLE frostline_runtime LOGIN NOSUPERUSER NOBYPASSRLS;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'frostline_maintenance') THEN
    CREATE ROLE frostline_maintenance NOLOGIN NOSUPERUSER NOBYPASSRLS;
  END IF;
END $$;
-- The owner hands the cross-tenant functions over to the maintenance role.
GRANT frostline_maintenance TO frostline_owner;
