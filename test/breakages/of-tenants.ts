/** Breakages of what keeps tenants apart, and of who may what. */
import type { Breakage } from "./breakage.js";

const noLeak = {
  file: "test/isolation-statements.test.ts",
  title: "without row-level security, a tenant's statements mean its own rows alone",
};

export const ofTenants: Breakage[] = [
  {
    name: "row-level security is not forced on a table",
    changes: [{ file: "migrations/0012_warming.sql", find: "ALTER TABLE warming_storm FORCE ROW LEVEL SECURITY;\n", replace: "" }],
    caughtBy: {
      file: "test/schema.test.ts",
      title: "every table that has a tenant, partitions too, enables and forces it, and no other view stands beside it",
    },
  },
  {
    name: "a policy lets every tenant read",
    changes: [
      {
        file: "migrations/0012_warming.sql",
        find: "CREATE POLICY tenant_only ON warming_storm USING (tenant_id = (SELECT current_tenant()))",
        replace: "CREATE POLICY tenant_only ON warming_storm USING (true)",
      },
    ],
    caughtBy: { file: "test/isolation-tables.test.ts", title: "nothing is read, by SELECT or COPY" },
  },
  {
    name: "a statement forgets the tenant in a join",
    changes: [
      {
        file: "src/tier/claim.ts",
        find: "JOIN share h ON h.tenant_id = t.tenant_id AND h.share_id = t.share_id",
        replace: "JOIN share h ON h.share_id = t.share_id",
      },
      { file: "src/tier/claim.ts", find: "WHERE h.tenant_id = $1 ORDER BY t.tier_id", replace: "ORDER BY t.tier_id" },
    ],
    caughtBy: noLeak,
  },
  {
    name: "a statement forgets the tenant of what it changes",
    changes: [
      {
        file: "src/ingest/audit/cursors.ts",
        find: "WHERE c.tenant_id = $1 AND c.volume_id = $2 AND c.audit_file_path = n.path",
        replace: "WHERE $1::uuid IS NOT NULL AND c.volume_id = $2 AND c.audit_file_path = n.path",
      },
    ],
    caughtBy: noLeak,
  },
  {
    name: "a connection goes on acting for its last tenant",
    changes: [{ file: "src/db/tenant.ts", find: "SET LOCAL app.tenant_id = '", replace: "SET app.tenant_id = '" }],
    caughtBy: { file: "src/db/tenant.test.ts", title: "a connection acts for nobody once its transaction is over, however that ended" },
  },
  {
    name: "a transaction that fails is committed as far as it came",
    changes: [{ file: "src/db/tenant.ts", find: 'client.query("ROLLBACK")', replace: 'client.query("COMMIT")' }],
    caughtBy: { file: "src/db/tenant.test.ts", title: "what was written before an error is undone" },
  },
  {
    name: "a key that was revoked is taken",
    changes: [
      {
        file: "migrations/0001_schema.sql",
        find: "WHERE k.secret_sha256 = p_secret_sha256 AND k.revoked_utc IS NULL AND",
        replace: "WHERE k.secret_sha256 = p_secret_sha256 AND",
      },
    ],
    caughtBy: { file: "test/server.test.ts", title: "an expired key is refused, and a revoked one from the next call on" },
  },
  {
    name: "any key may do anything",
    changes: [
      { file: "src/server/authorize.ts", find: 'if (!caller.scopes.includes("admin") &&', replace: "if (caller.scopes.length === 0 &&" },
    ],
    caughtBy: { file: "test/scopes.test.ts", title: "%s may what the table says, and nothing else" },
  },
];
