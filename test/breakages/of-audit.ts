/** Breakages of audit events, of warming, and of what is told of it. */
import type { Breakage } from "./breakage.js";

export const ofAudit: Breakage[] = [
  {
    name: "audit events are applied without the ledger",
    changes: [
      { file: "src/ingest/audit/claim.ts", find: "  if (ids.size === 0) return ids;\n", replace: "  if (ids.size >= 0) return ids;\n" },
    ],
    caughtBy: {
      file: "test/audit-restart.test.ts",
      title: "truncated to its first line and written on: the first is a duplicate, the others are new though they begin at the same bytes",
    },
  },
  {
    name: "audit cursors are committed before the events are applied",
    changes: [
      {
        file: "src/ingest/audit/commit.ts",
        find: `  const touches = await run.apply();
  const advancing = advanceCursors(client, share.tenantId, volumeId, [...cursors.values()]);\n`,
        replace: `  await advanceCursors(client, share.tenantId, volumeId, [...cursors.values()]);
  await client.query(\`COMMIT; \${beginFor(share.tenantId)}\`);
  await lockShare(client, share.shareId, "exclusive");
  const touches = await run.apply();
  const advancing = Promise.resolve();\n`,
      },
    ],
    caughtBy: {
      file: "test/undone.test.ts",
      title: "an audit batch that fails at the last leaves nothing; sent again, each event counts once",
    },
  },
  {
    name: "audit events count as committed before their COMMIT has come back",
    changes: [
      {
        file: "src/ingest/audit/commit.ts",
        find: '  await together([advancing, client.query("COMMIT")]);\n',
        replace: '  await advancing;\n  client.query("COMMIT").catch(() => {});\n',
      },
    ],
    caughtBy: { file: "test/acknowledged.test.ts", title: "an audit stream is not answered before its last COMMIT has come back" },
  },
  {
    name: "what was seen of a file before its share was held counts afterwards",
    changes: [
      {
        file: "src/ingest/audit/load-files.ts",
        find: "  if (found.length === 0) return [];\n",
        replace: "  if (found.length >= 0) return [];\n",
      },
    ],
    caughtBy: {
      file: "test/audit-overtaken.test.ts",
      title: "moved, read, replaced and deleted while the transaction waits for the share",
    },
  },
  {
    name: "a gap in an audit file is passed over",
    changes: [
      {
        file: "src/ingest/audit/claim.ts",
        find: "  if (batch.startOffset <= expected) {\n",
        replace: "  if (batch.startOffset <= expected || batch.startOffset > 0n) {\n",
      },
    ],
    caughtBy: {
      file: "test/undone.test.ts",
      title: "a batch behind a gap is refused with the byte to go on with, and none of it is stored",
    },
  },
  {
    name: "history is not brought in step with audit events",
    changes: [
      {
        file: "src/ingest/audit/store.ts",
        find: "UPDATE dir d SET history_dirty = true,\n       last_structural_event_utc",
        replace: "UPDATE dir d SET last_structural_event_utc",
      },
    ],
    caughtBy: {
      file: "test/audit-moves.test.ts",
      // biome-ignore lint/suspicious/noTemplateCurlyInString: as the file has it
      title: "a renamed file and a renamed directory of ${files} files keep identity, tier state and history",
    },
  },
  {
    name: "an access that moved a time is not logged",
    changes: [{ file: "src/ingest/audit/store.ts", find: "    logAccesses(client, share, folded.accesses),\n", replace: "" }],
    caughtBy: {
      file: "test/undone.test.ts",
      title: "an audit batch that fails at the last leaves nothing; sent again, each event counts once",
    },
  },
  {
    name: "an access to a tiered file that moves no access time is lost",
    changes: [
      {
        file: "src/ingest/audit/fold.ts",
        find: `    if (file.stubbedTierId !== undefined) this.result.touches.push(touchOf(file.stubbedTierId, event));
    if (oldAtimeUnix !== undefined && seconds <= oldAtimeUnix) return "stale";\n`,
        replace: `    if (oldAtimeUnix !== undefined && seconds <= oldAtimeUnix) return "stale";
    if (file.stubbedTierId !== undefined) this.result.touches.push(touchOf(file.stubbedTierId, event));\n`,
      },
    ],
    caughtBy: {
      file: "test/warming-policy.test.ts",
      title: "two accesses within one second, and one that comes late, move no access time and are accesses all the same",
    },
  },
  {
    name: "a webhook's position is committed before its messages",
    changes: [
      {
        file: "src/webhooks/find-warming.ts",
        find: "    await insertDeliveries(client, tenantId, follower.webhookId, found);\n",
        replace: "",
      },
      {
        file: "src/webhooks/find-warming.ts",
        find: "    more ||= upTo < newest;\n",
        replace: `    await client.query(\`COMMIT; BEGIN; SET LOCAL app.tenant_id = '\${tenantId}'\`);
    await insertDeliveries(client, tenantId, follower.webhookId, found);
    more ||= upTo < newest;\n`,
      },
    ],
    caughtBy: {
      file: "test/undone.test.ts",
      title: "messages that cannot be written leave their webhook where it was, and are sent once they can",
    },
  },
  {
    name: "a message that its receiver did not take counts as delivered",
    changes: [
      {
        file: "src/webhooks/record.ts",
        find: "if (answer.status >= 200 && answer.status < 300) return undefined;",
        replace: "if (answer.status >= 200) return undefined;",
      },
    ],
    caughtBy: {
      file: "test/webhooks.test.ts",
      title: "a failure is tried again with the same id, then given up, and can be tried again by hand",
    },
  },
  {
    name: "a message that is being sent is anybody's",
    changes: [
      {
        file: "src/webhooks/claim.ts",
        find: "next_attempt_utc = now() + make_interval(secs => $6)",
        replace: "next_attempt_utc = now() + make_interval(secs => $6 * 0)",
      },
    ],
    caughtBy: {
      file: "test/webhooks-servers.test.ts",
      title: "two servers on one database: each message is sent, by either, and none twice",
    },
  },
];
