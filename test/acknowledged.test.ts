/** Whoever is answered may forget what it sent: so there is no answer before COMMIT has come back. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ShareService } from "../src/gen/frostline/v1/share_pb.js";
import { withClient } from "./support/postgres.js";
import { chunk, file, listing, openStreams, type Streams } from "./support/streams.js";
import { createWarmedShare, pushAccesses } from "./support/warmed-share.js";

const lockKey = 20261126;

let streams: Streams;
beforeAll(async () => {
  streams = await openStreams();
  await withClient(streams.server.database.superuserUrl, (client) => client.query(waitInCommit));
});
afterAll(() => streams?.close());

/** Deferred triggers run within COMMIT, when all else is done. */
const waitInCommit = `
  CREATE FUNCTION public.wait_in_commit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(${lockKey}); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER wait_in_commit AFTER INSERT ON ingest_chunk DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.wait_in_commit();
  CREATE CONSTRAINT TRIGGER wait_in_commit AFTER UPDATE ON lucid_audit_cursor DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.wait_in_commit()`;

/** Makes the call while nothing can be committed; returns its answer, which may only come afterwards. */
async function answeredAfterCommit<T>(call: () => Promise<T>): Promise<T> {
  return withClient(streams.server.database.superuserUrl, async (client) => {
    await client.query("SELECT pg_advisory_lock($1)", [lockKey]);
    let answered = false;
    const answer = call().finally(() => {
      answered = true;
    });
    // Met below, or of no more interest than what failed before.
    answer.catch(() => {});
    await expect.poll(waitingCommits, { timeout: 20_000, interval: 20 }).toBe(1);
    // Over the same connection: an answer that was sent by now comes before this one.
    await streams.client.unary(ShareService.method.listShares, {});
    expect(answered).toBe(false);
    await client.query("SELECT pg_advisory_unlock($1)", [lockKey]);
    return answer;
  });
}

async function waitingCommits(): Promise<number> {
  return withClient(streams.server.database.superuserUrl, async (client) => {
    const { rows } = await client.query<{ waiting: number }>(
      `SELECT count(*)::integer AS waiting FROM pg_stat_activity
       WHERE datname = current_database() AND application_name LIKE 'frostline%' AND wait_event_type = 'Lock' AND query = 'COMMIT'`,
    );
    return rows[0]?.waiting as number;
  });
}

test("a scan stream is not answered before its last COMMIT has come back", async () => {
  const shareName = await streams.newShare();
  const scanId = await streams.start(shareName);
  const answer = await answeredAfterCommit(() => streams.push(scanId, [chunk(0, [listing("/", [file("x", 10n)])])]));
  expect(answer).toMatchObject({ nextChunkNo: 1n });
  expect(await streams.stored(shareName)).toMatchObject({ files: ["/x 10"], chunks: 1 });
});

test("an audit stream is not answered before its last COMMIT has come back", async () => {
  const share = await createWarmedShare(streams.server, streams.tenant, { files: 1 });
  const counts = await answeredAfterCommit(() => pushAccesses(share, [{ path: share.paths[0] as string }], "node/a.log"));
  expect(counts).toMatchObject({ applied: 1n });
});
