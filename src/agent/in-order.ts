/** Reads the directories of a tree ahead of their turn, and gives them in their turn: depth first, each before its subdirectories. */
import type { Listing } from "./listing.js";

/** A directory to read. */
export interface Turn {
  /** `/` or `/a/b`, one byte a character. */
  path: string;
  /** Set on the way to where a walk resumes: the names still to go. The directory itself was listed before. */
  resume: string[] | undefined;
}

/** What a directory leads to. */
export interface Children {
  /** In byte order. */
  names: string[];
  /** The first name's Turn.resume. */
  resumeFirst: string[] | undefined;
}

export type ReadDirectory = (turn: Turn) => AsyncGenerator<Listing, Children>;

export interface ReadAheadLimits {
  /** Directories read at the same time, the one whose turn it is included. */
  directories: number;
  /** Files held in memory beyond which no directory is read but the one whose turn it is. */
  files: number;
}

/** A directory in the list; read from `started` until `done`. */
interface Node extends Turn {
  next: Node | Siblings | undefined;
  parts: Listing[];
  started: boolean;
  done: boolean;
  error: unknown;
}

/** Directories not yet begun, as names only: a directory may have a million of them. */
interface Siblings extends Children {
  parent: string;
  at: number;
  next: Node | Siblings | undefined;
}

/**
 * Listings of `first` and everything below it. Rejects with a reader's error when its turn comes, or with the signal's reason.
 * In memory: the names of directories that were found and not begun, the files of `limits`, and one part of each directory being read.
 */
export async function* inOrder(first: Turn, read: ReadDirectory, limits: ReadAheadLimits, signal: AbortSignal): AsyncGenerator<Listing> {
  let head: Node | undefined = toNode(first, undefined);
  let filesHeld = 0;
  let wakeConsumer: (() => void) | undefined;
  let waiting: (() => void)[] = [];

  const makeRoom = () => {
    const woken = waiting;
    waiting = [];
    for (const wake of woken) wake();
  };
  const onAbort = () => {
    wakeConsumer?.();
    makeRoom();
  };
  const mayRead = (node: Node) => signal.aborted || filesHeld < limits.files || (node === head && node.parts.length === 0);

  async function run(node: Node): Promise<void> {
    node.started = true;
    try {
      const parts = read(node);
      for (let part = await parts.next(); ; part = await parts.next()) {
        if (part.done === true) {
          insertChildren(node, part.value);
          break;
        }
        node.parts.push(part.value);
        filesHeld += part.value.files.length;
        if (node === head) wakeConsumer?.();
        while (!mayRead(node)) await new Promise<void>((wake) => waiting.push(wake));
      }
    } catch (error) {
      node.error = error;
    }
    node.done = true;
    if (node === head) wakeConsumer?.();
  }

  function startReaders(): void {
    let node = head;
    for (let i = 0; i < limits.directories && node !== undefined; i++) {
      if (!node.started && mayRead(node)) void run(node);
      node = advance(node);
    }
  }

  signal.addEventListener("abort", onAbort, { once: true });
  try {
    while (head !== undefined) {
      startReaders();
      for (;;) {
        signal.throwIfAborted();
        const part = head.parts.shift();
        if (part !== undefined) {
          filesHeld -= part.files.length;
          makeRoom();
          yield part;
        } else if (head.done) break;
        else {
          await new Promise<void>((wake) => {
            wakeConsumer = wake;
          });
        }
      }
      if (head.error !== undefined) throw head.error;
      head = advance(head);
      makeRoom();
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function toNode(turn: Turn, next: Node["next"]): Node {
  return { path: turn.path, resume: turn.resume, next, parts: [], started: false, done: false, error: undefined };
}

function insertChildren(node: Node, children: Children): void {
  if (children.names.length > 0) node.next = { ...children, parent: node.path === "/" ? "" : node.path, at: 0, next: node.next };
}

/** The directory after this one, taken out of its siblings if it must be. */
function advance(node: Node): Node | undefined {
  const { next } = node;
  if (next === undefined || "started" in next) return next;
  const resume = next.at === 0 ? next.resumeFirst : undefined;
  const taken = toNode({ path: `${next.parent}/${next.names[next.at]}`, resume }, next.at + 1 < next.names.length ? next : next.next);
  next.at++;
  node.next = taken;
  return taken;
}
