/** One PostgreSQL for the whole run, and in it one migrated database that every test database is a copy of. */
import pg from "pg";
import type { TestProject } from "vitest/node";
import { createDatabase, migrate } from "../../src/db/migrate.js";
import { type Cluster, startCluster, templateDatabase, withRole } from "./cluster.js";

declare module "vitest" {
  export interface ProvidedContext {
    cluster: Cluster;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const { cluster, stop } = await startCluster();
  try {
    await makeTemplate(cluster);
  } catch (error) {
    await stop();
    throw error;
  }
  project.provide("cluster", cluster);
  return stop;
}

/** Left over from an earlier run on a server of your own, it may have an older schema: made anew each time. */
async function makeTemplate(cluster: Cluster): Promise<void> {
  const client = new pg.Client({ connectionString: cluster.superuserUrl });
  await client.connect();
  try {
    await client.query(`DROP DATABASE IF EXISTS ${templateDatabase}`);
  } finally {
    await client.end();
  }
  await createDatabase(cluster.superuserUrl, templateDatabase);
  await migrate(withRole(cluster, "owner", templateDatabase));
}
