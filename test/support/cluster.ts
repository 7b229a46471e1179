/** The PostgreSQL server of a test run: embedded by default, in a container, or one of yours. */
import { randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import pg from "pg";
import { type EmbeddedPostgres, startEmbedded } from "../../src/db/embedded.js";

/** What test databases are copied from. */
export const templateDatabase = "frostline_template";

/** Plain data, so that the run can hand it to its workers. */
export interface Cluster {
  superuserUrl: string;
  /** Passwords of the roles that the code under test connects as. */
  passwords: { owner: string; runtime: string };
}

export interface RunningCluster {
  cluster: Cluster;
  stop(): Promise<void>;
}

/** Starts what FROSTLINE_TEST_POSTGRES asks for: `embedded` (default), `container`, or `url` (then FROSTLINE_TEST_POSTGRES_URL, a superuser's). */
export async function startCluster(): Promise<RunningCluster> {
  const kind = process.env.FROSTLINE_TEST_POSTGRES ?? "embedded";
  if (kind === "embedded") return startEmbeddedCluster(18);
  if (kind === "container") return startContainer();
  if (kind === "url") return useServer();
  throw new Error(`FROSTLINE_TEST_POSTGRES is ${JSON.stringify(kind)}; expected embedded, container or url.`);
}

/** A new embedded server on a scratch directory that goes when it stops. */
export async function startEmbeddedCluster(version: 14 | 18): Promise<RunningCluster & { postgres: EmbeddedPostgres }> {
  const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), "frostline-test-postgres-"));
  const remove = () => fs.rm(dataDir, { recursive: true, force: true });
  try {
    const postgres = await startEmbedded({ dataDir, version, settings: { max_connections: "300", shared_buffers: "128MB" } });
    const cluster = await prepareRoles(postgres.url("postgres", "postgres"));
    const stop = () => postgres.stop().then(remove);
    return { cluster, postgres, stop };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function startContainer(): Promise<RunningCluster> {
  const { GenericContainer, Wait } = await import("testcontainers");
  const image = process.env.FROSTLINE_TEST_POSTGRES_IMAGE ?? "postgres:18";
  const password = newPassword();
  const container = await new GenericContainer(image)
    .withEnvironment({ POSTGRES_PASSWORD: password })
    .withExposedPorts(5432)
    // The first of the two is the entry point's own, before it sets the password.
    .withWaitStrategy(Wait.forLogMessage("database system is ready to accept connections", 2))
    .withCommand(["postgres", "-c", "max_connections=300"])
    .start();
  const url = `postgres://postgres:${password}@${container.getHost()}:${container.getMappedPort(5432)}/postgres`;
  const stop = async () => {
    await container.stop();
  };
  return { cluster: await prepareRoles(url), stop };
}

async function useServer(): Promise<RunningCluster> {
  const url = process.env.FROSTLINE_TEST_POSTGRES_URL;
  if (url === undefined)
    throw new Error("FROSTLINE_TEST_POSTGRES=url needs FROSTLINE_TEST_POSTGRES_URL: the URL of a superuser on a server kept for tests.");
  return { cluster: await prepareRoles(url), stop: async () => {} };
}

/** Makes the roles where they are not there yet, and gives the two that log in new passwords. */
async function prepareRoles(superuserUrl: string): Promise<Cluster> {
  const passwords = { owner: newPassword(), runtime: newPassword() };
  const client = new pg.Client({ connectionString: superuserUrl });
  await client.connect();
  try {
    await client.query(await fs.readFile(new URL("../../migrations/roles.sql", import.meta.url), "utf8"));
    await client.query(`ALTER ROLE frostline_owner PASSWORD '${passwords.owner}'`);
    await client.query(`ALTER ROLE frostline_runtime PASSWORD '${passwords.runtime}'`);
  } finally {
    await client.end();
  }
  return { superuserUrl, passwords };
}

/** URL of one of the two roles that log in. */
export function withRole(cluster: Cluster, role: "owner" | "runtime", database: string): string {
  const url = new URL(cluster.superuserUrl);
  url.username = `frostline_${role}`;
  url.password = cluster.passwords[role];
  url.pathname = `/${database}`;
  return url.href;
}

/** Hexadecimal, so that it needs no quoting anywhere. */
function newPassword(): string {
  return randomBytes(16).toString("hex");
}
