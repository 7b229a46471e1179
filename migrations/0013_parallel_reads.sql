-- Every policy asks for the tenant. A function that does not say that it is safe kept each statement from being run by several
-- processes, whatever its size; this one only reads a setting, which workers have as well.
ALTER FUNCTION current_tenant() PARALLEL SAFE;
