/**
 * A watch: what there is to tell, read out of the database page by page from a position on, for as long as the caller wants.
 *
 * The feed only says that something is there. So a notification that is lost loses no event, and a watcher that reads slowly
 * costs one page, however far it is behind: nothing is read before the last page is gone.
 */
import type { ClientBase, Pool } from "pg";
import { readTenant } from "../db/tenant.js";
import { DomainError } from "../errors.js";
import { isInForce } from "../tenancy/keys.js";
import { requireShare } from "../tenancy/shares.js";
import { invalidField } from "../tenancy/validate.js";
import type { WarmingFeed } from "./feed.js";
import { readEvents, type WarmingEvent } from "./warming-event.js";
import { readStorms, type WarmingStorm } from "./warming-storm.js";

/** Entries in memory for each watcher. */
const pageEntries = 200;
/** A watcher that is further behind is told so. */
const behindPositions = 10_000n;

export interface WatchRequest {
  tenantId: string;
  /** See Caller. The watch ends when the key is revoked, and when key or token expire. */
  callerId: string;
  tokenExpiresMs?: number | undefined;
  /** Undefined: all shares. */
  shareName: string | undefined;
  /** Undefined: from now on. */
  after: bigint | undefined;
}

export type WatchItem =
  | { event: WarmingEvent }
  | { storm: WarmingStorm }
  /** Everything up to `position` was told. */
  | { progress: { position: bigint } }
  /** Far behind `newest`; what lies between will be told. */
  | { behind: { position: bigint; newest: bigint } };

/** Until `signal` aborts; ends then. Throws NOT_FOUND, INVALID_ARGUMENT, OUT_OF_RANGE, RESOURCE_EXHAUSTED, UNAUTHENTICATED, UNAVAILABLE. */
export async function* watchWarming(pool: Pool, feed: WarmingFeed, request: WatchRequest, signal: AbortSignal): AsyncGenerator<WatchItem> {
  const subscription = feed.subscribe(request.tenantId);
  try {
    const { shareId, position: start } = await openWatch(pool, request);
    let position = start;
    let behind = false;
    yield { progress: { position } };
    while (!signal.aborted) {
      const page = await readPage(pool, request, shareId, position);
      if (!behind && page.newest - position > behindPositions) {
        behind = true;
        yield { behind: { position, newest: page.newest } };
      }
      yield* page.items;
      position = page.upTo;
      if (!page.last) continue;
      behind = false;
      if (page.items.length === 0) yield { progress: { position } };
      await subscription.changed(signal);
    }
  } finally {
    subscription.close();
  }
}

async function openWatch(
  pool: Pool,
  { tenantId, shareName, after }: WatchRequest,
): Promise<{ shareId: bigint | undefined; position: bigint }> {
  if (after !== undefined && after < 0n) throw invalidField("after_position", `is ${after}; positions are 1 or more, 0 is before all.`);
  return readTenant(pool, tenantId, async (client) => {
    const share = shareName === undefined ? undefined : await requireShare(client, tenantId, shareName);
    const { newest, pruned } = await readPositions(client, tenantId);
    if (after !== undefined && after > newest) {
      throw new DomainError(
        "OUT_OF_RANGE",
        `after_position is ${after}; the newest is ${newest}. The database was set back: what had those positions is gone. Go on from ${newest}, or from 0.`,
        { reason: "POSITION_UNKNOWN", metadata: { newest_position: String(newest) } },
      );
    }
    // From before all is from the oldest there is.
    return { shareId: share?.share_id, position: after === 0n ? pruned : (after ?? newest) };
  });
}

interface Page {
  /** In the order of their positions. */
  items: WatchItem[];
  /** All up to here is in `items`, or was before. */
  upTo: bigint;
  newest: bigint;
  /** Nothing more was there. */
  last: boolean;
}

async function readPage(pool: Pool, request: WatchRequest, shareId: bigint | undefined, after: bigint): Promise<Page> {
  const { tenantId } = request;
  return readTenant(pool, tenantId, async (client) => {
    if (!(await isInForce(client, request))) {
      throw new DomainError("UNAUTHENTICATED", "The key or token that this watch was opened with has been revoked, or has expired.", {
        reason: "KEY_NOT_IN_FORCE",
      });
    }
    // First: what has a position up to this one is visible to every statement from now on.
    const { newest, pruned } = await readPositions(client, tenantId);
    if (after < pruned) {
      throw new DomainError(
        "OUT_OF_RANGE",
        `The watch is at ${after}; events up to ${pruned} are not kept any more, and some were not told. Go on from ${pruned}, or from 0.`,
        { reason: "POSITIONS_PRUNED", metadata: { pruned_to_position: String(pruned) } },
      );
    }
    if (newest <= after) return { items: [], upTo: after, newest, last: true };
    const range = { after, upTo: newest, limit: pageEntries };
    const events = await readEvents(client, tenantId, { shareId }, range);
    const storms = await readStorms(client, tenantId, shareId, range);
    const ends = [events, storms].flatMap((rows) => (rows.length === pageEntries ? (rows.at(-1)?.position ?? []) : []));
    let upTo = newest;
    for (const end of ends) if (end < upTo) upTo = end;
    return { items: inOrder(events, storms, upTo), upTo, newest, last: ends.length === 0 };
  });
}

function inOrder(events: WarmingEvent[], storms: WarmingStorm[], upTo: bigint): WatchItem[] {
  const all = [
    ...events.map((event) => ({ position: event.position, item: { event } })),
    ...storms.map((storm) => ({ position: storm.position, item: { storm } })),
  ];
  return all
    .filter(({ position }) => position <= upTo)
    .sort((a, b) => (a.position < b.position ? -1 : 1))
    .map(({ item }) => item);
}

/** The last one given away, 0 before the first; and up to where they may have been forgotten. */
async function readPositions(client: ClientBase, tenantId: string): Promise<{ newest: bigint; pruned: bigint }> {
  const { rows } = await client.query<{ newest: bigint; pruned: bigint }>(
    "SELECT last_position AS newest, pruned_to_position AS pruned FROM warming_position WHERE tenant_id = $1",
    [tenantId],
  );
  return rows[0] ?? { newest: 0n, pruned: 0n };
}
