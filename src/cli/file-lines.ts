/** Files as lines of a list: JSON, or columns. */
import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import type { FileInfo } from "../gen/frostline/v1/file_pb.js";
import { bytes, escaped, isoTime } from "./format.js";
import type { Output } from "./output.js";

/** Widths are fixed: a list of millions is printed as it arrives. */
export const fileHeader = `${"SIZE".padStart(10)}  ${"MODIFIED".padEnd(20)}  ${"ACCESSED".padEnd(20)}  PATH`;

export function fileLine(file: FileInfo): string {
  const missing = file.missingSinceScanId === undefined ? "" : `  (missing since scan ${file.missingSinceScanId})`;
  const times = `${isoTime(file.mtimeUnix).padEnd(20)}  ${isoTime(file.atimeUnix).padEnd(20)}`;
  return `${bytes(file.sizeBytes).padStart(10)}  ${times}  ${escaped(file.path)}${missing}`;
}

/** How a kind of message is printed. */
export interface Layout<Desc extends DescMessage> {
  schema: Desc;
  header: string;
  line(message: MessageShape<Desc>): string;
}

/** Prints each batch before it asks for the next. The header waits for the first: a call that fails prints nothing. */
export async function printBatches<Desc extends DescMessage>(
  output: Output,
  layout: Layout<Desc>,
  batches: AsyncIterable<MessageShape<Desc>[]>,
): Promise<void> {
  let header = output.json ? [] : [layout.header];
  for await (const batch of batches) {
    if (output.json) await output.printMessages(layout.schema, batch);
    else await output.print([...header, ...batch.map(layout.line)]);
    header = [];
  }
  await output.print(header);
}
