#!/usr/bin/env bash
# PostgreSQL's image runs this once, when its volume is new: the roles, their passwords, and the database that
# `frostline migrate` then fills. psql reads the passwords itself, so they are in no argument and no log.
set -euo pipefail
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\i /frostline/roles.sql
\set owner_password `cat /run/secrets/owner_password`
\set runtime_password `cat /run/secrets/runtime_password`
ALTER ROLE frostline_owner PASSWORD :'owner_password';
ALTER ROLE frostline_runtime PASSWORD :'runtime_password';
CREATE DATABASE frostline OWNER frostline_owner;
\connect frostline
ALTER SCHEMA public OWNER TO frostline_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SQL
