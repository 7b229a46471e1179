/** Databases for tests: a fresh migrated one for each file, reached as the roles that production has. */
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import pg from "pg";
import { inject } from "vitest";
import { createDatabase } from "../../src/db/migrate.js";
import { type Cluster, startEmbeddedCluster, templateDatabase, withRole } from "./cluster.js";

export interface TestDatabase {
  name: string;
  /** Only for looking from outside and for breaking things; never for the code under test. */
  superuserUrl: string;
  ownerUrl: string;
  runtimeUrl: string;
  /** Ends whoever is still connected. */
  drop(): Promise<void>;
}

/** A migrated, otherwise empty database on the run's server. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const cluster = inject("cluster");
  const name = newName();
  await withClient(cluster.superuserUrl, (client) =>
    client.query(`CREATE DATABASE ${name} OWNER frostline_owner TEMPLATE ${templateDatabase}`),
  );
  return describeDatabase(cluster, name);
}

/** A database as that one is now. Nobody may be connected to it. */
export async function copyTestDatabase(database: TestDatabase): Promise<TestDatabase> {
  const cluster = inject("cluster");
  const name = newName();
  await withClient(cluster.superuserUrl, (client) =>
    client.query(`CREATE DATABASE ${name} OWNER frostline_owner TEMPLATE ${database.name}`),
  );
  return describeDatabase(cluster, name);
}

/** An empty database, owned by the owner role and not yet migrated, on the run's server or on `cluster`. */
export async function createEmptyDatabase(cluster: Cluster = inject("cluster")): Promise<TestDatabase> {
  const name = newName();
  await createDatabase(cluster.superuserUrl, name);
  return describeDatabase(cluster, name);
}

/** Starts the oldest PostgreSQL that is supported; stop it in the end. Only where `missingPostgres14()` is false. */
export async function postgres14() {
  return startEmbeddedCluster(14);
}

/** Whether PostgreSQL 14 cannot be started here; says so loudly. For `describe.skipIf`. */
export function missingPostgres14(): boolean {
  const name = `postgres-14-${process.platform}-${process.arch}`;
  try {
    createRequire(import.meta.url).resolve(name);
    return false;
  } catch {
    console.warn(`\n!!! SKIPPED on PostgreSQL 14: the optional package ${name} is not installed.\n`);
    return true;
  }
}

/** One connection for one piece of work. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function describeDatabase(cluster: Cluster, name: string): TestDatabase {
  const superuserUrl = Object.assign(new URL(cluster.superuserUrl), { pathname: `/${name}` }).href;
  return {
    name,
    superuserUrl,
    ownerUrl: withRole(cluster, "owner", name),
    runtimeUrl: withRole(cluster, "runtime", name),
    drop: () =>
      withClient(cluster.superuserUrl, async (client) => void (await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`))),
  };
}

function newName(): string {
  return `test_${randomBytes(8).toString("hex")}`;
}
