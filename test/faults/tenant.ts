/** One of the tenants of a round: what all its work has in common. */
import type { TestDatabase } from "../support/postgres.js";
import type { Random } from "../support/random.js";
import type { Scope, TestTenant } from "../support/tenant.js";
import type { Agents } from "./agents.js";

export interface FaultTenant {
  /** Tells it from the other, in the names of agents. */
  no: number;
  tenant: TestTenant;
  /** Behind the links: a list for clients that know of several servers, and each alone. */
  servers: string;
  eachServer: string[];
  database: TestDatabase;
  agents: Agents;
  random: Random;
  /** A directory of its own, empty. */
  directory: string;
}

/** What a command needs to know, beside its arguments. */
export function environmentOf({ servers, tenant }: FaultTenant, scope: Scope): Record<string, string> {
  return { FROSTLINE_SERVER: servers, FROSTLINE_KEY: tenant.keys[scope] };
}

/** Aborts when the faults are over, and when patience is. */
export interface Phases {
  calm: AbortSignal;
  deadline: AbortSignal;
}
