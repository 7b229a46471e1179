/** A made-up audit trail of the synthetic share: mostly reads, encoded as agents send it. */
import * as fs from "node:fs/promises";
import * as path from "node:path";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { AuditAction, type AuditEventSchema, PushAuditRequestSchema } from "../src/gen/frostline/v1/audit_pb.js";
import { listedUnix, randomFrom, syntheticDirectories } from "./synthetic.js";

/** Agents read 256 KiB of a log at a time, some 400 bytes a line. */
const eventsPerBatch = 640;
const bytesPerLine = 400;
const nodes = 8;
/** As `frostline audit` does: so many nodes at the same time, each on a stream of its own. */
export const trailStreams = 4;
/** Later than any scan of the synthetic share. */
export const trailStartsUnix = listedUnix + 10_000;

export interface TrailOptions {
  files: number;
  events: number;
}

/** The file of a stream's messages. */
export const trailFile = (dir: string, stream: number) => path.join(dir, `trail-${stream}`);

/** Writes length-prefixed PushAuditRequest messages, each a batch, the nodes in turn: a file for each stream. */
export async function encodeTrail(dir: string, options: TrailOptions): Promise<void> {
  const handles = await Promise.all(Array.from({ length: trailStreams }, (_, stream) => fs.open(trailFile(dir, stream), "w")));
  const nextEvent = trailEvents(options);
  const positions = new Array<number>(nodes).fill(0);
  for (let made = 0, batchNo = 0; made < options.events; batchNo += 1) {
    const node = batchNo % nodes;
    const startOffset = positions[node] as number;
    const count = Math.min(eventsPerBatch, options.events - made);
    const events = Array.from({ length: count }, (_, at) => ({ ...nextEvent(node), offset: BigInt(startOffset + at * bytesPerLine) }));
    made += count;
    positions[node] = startOffset + count * bytesPerLine;
    await writeMessage(handles[node % trailStreams] as fs.FileHandle, {
      auditFilePath: `.lucid_audit/node-${node}/2026/09/trail.log`,
      headFingerprint: Buffer.from(`first line of node ${node}`),
      startOffset: BigInt(startOffset),
      endOffset: BigInt(positions[node] as number),
      events,
    });
  }
  for (const handle of handles) await handle.close();
}

type Batch = Extract<NonNullable<MessageInitShape<typeof PushAuditRequestSchema>["message"]>, { case: "batch" }>["value"];

async function writeMessage(handle: fs.FileHandle, batch: Batch): Promise<void> {
  const message = toBinary(PushAuditRequestSchema, create(PushAuditRequestSchema, { message: { case: "batch", value: batch } }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(message.length);
  await handle.writev([length, message]);
}

/** Of 10,000 events: 9,000 reads, 600 writes, 200 creates, 120 moves and 78 deletes of files, a directory made and one moved. */
function trailEvents({ files }: TrailOptions): (node: number) => MessageInitShape<typeof AuditEventSchema> {
  const random = randomFrom(7);
  const paths: string[] = [];
  const directories: string[] = [];
  for (const { dirPath, files: own } of syntheticDirectories({ files })) {
    directories.push(dirPath);
    for (const { name } of own) paths.push(join(dirPath, name));
  }
  const pick = <T>(from: T[]) => Math.floor(random() * from.length);
  /** Made and not yet moved. */
  const movable: string[] = [];
  let made = 0;
  const next = (): { action: AuditAction; path: string; targetPath?: string } => {
    const draw = Math.floor(random() * 10_000);
    const at = pick(paths);
    const path = paths[at] as string;
    const fresh = () => join(directories[pick(directories)] as string, `new-${made}.bin`);
    if (draw < 9000) return { action: AuditAction.READ, path };
    if (draw < 9600) return { action: AuditAction.WRITE, path };
    if (draw < 9800) {
      const created = fresh();
      paths.push(created);
      return { action: AuditAction.CREATE_FILE, path: created };
    }
    if (draw < 9920) {
      const targetPath = fresh();
      paths[at] = targetPath;
      return { action: AuditAction.MOVE, path, targetPath };
    }
    if (draw < 9998) {
      paths[at] = paths.at(-1) as string;
      paths.pop();
      return { action: AuditAction.DELETE_FILE, path };
    }
    const directory = movable.pop();
    if (directory === undefined) {
      movable.push(`/made-${made}`);
      return { action: AuditAction.CREATE_DIRECTORY, path: `/made-${made}` };
    }
    return { action: AuditAction.MOVE, path: directory, targetPath: `${directory}-moved` };
  };
  return (node) => {
    made += 1;
    // A thousand events a second, by the trail's own clock.
    const timeMicros = BigInt(trailStartsUnix) * 1_000_000n + BigInt(made) * 1000n;
    return {
      ...next(),
      timeMicros,
      user: `user-${made % 50}@example.com`,
      host: `host-${made % 50}`,
      node: `node-${node}`,
      actionName: "",
    };
  };
}

function join(dirPath: string, name: string): string {
  return dirPath === "/" ? `/${name}` : `${dirPath}/${name}`;
}
