/** Ids of bulk rows: one nextval gives a whole block. A block that is not used up leaves a gap, which means nothing. */
import type { ClientBase } from "pg";

/** Directory ids: handed out one by one from blocks that this process drew. */
const dirBlockSize = 4096n;
/** File ids: a row's id is its block's first id plus its ordinal, so one segment takes whole blocks. */
const fileBlockSize = 65_536;

/** Hands out directory ids. Any number of processes may do so at once. */
export class DirIds {
  #next = 0n;
  #end = 0n;

  /** The next `count` ids; draws blocks through `client` as needed. */
  async take(client: ClientBase, count: number): Promise<bigint[]> {
    const ids: bigint[] = [];
    while (ids.length < count) {
      if (this.#next === this.#end) {
        const first = await firstOfBlock(client, "dir_id_block");
        // Another call may have drawn a block meanwhile: its rest becomes a gap.
        this.#next = first;
        this.#end = first + dirBlockSize;
      }
      ids.push(this.#next++);
    }
    return ids;
  }
}

/** First ids of as many file id blocks as ordinals 0 to `rows` - 1 need. */
export async function takeFileBlocks(client: ClientBase, rows: number): Promise<bigint[]> {
  const { rows: blocks } = await client.query<{ first: bigint }>(
    "SELECT nextval('file_current_id_block') AS first FROM generate_series(1, $1::integer)",
    [Math.ceil(rows / fileBlockSize)],
  );
  return blocks.map((block) => block.first);
}

async function firstOfBlock(client: ClientBase, sequence: string): Promise<bigint> {
  const { rows } = await client.query<{ first: bigint }>("SELECT nextval($1::regclass) AS first", [sequence]);
  return (rows[0] as { first: bigint }).first;
}
