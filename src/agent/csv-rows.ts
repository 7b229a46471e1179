/** Rows of a CSV of files, as raw text; one byte a character, so that names that are no UTF-8 stay what they are. */
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream";
import { parse } from "csv-parse";

const required = ["path", "size_bytes", "atime_unix", "mtime_unix", "ctime_unix"] as const;
const optional = ["frn", "allocated_bytes", "link_count", "owner", "file_hash"] as const;

/** A column's name in the first line. */
export type Column = (typeof required)[number] | (typeof optional)[number];

export interface CsvRow {
  /** Line of the file on which the row begins, from 1. */
  line: number;
  /** Fields of the columns that the file has, or what is wrong with the row. */
  fields: Partial<Record<Column, string>> | { problem: string };
}

/** An unclosed quote must not take the rest of a large file for one field. */
const rowBytesAtMost = 1024 * 1024;

/** Rejects when the file cannot be read, lacks a column, or is no CSV; the message names the line. */
export async function* readRows(file: string, signal: AbortSignal | undefined): AsyncGenerator<CsvRow> {
  const parser = parse({
    encoding: "latin1",
    info: true,
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    max_record_size: rowBytesAtMost,
  });
  const bytes = createReadStream(file, signal === undefined ? {} : { signal });
  pipeline(bytes, withoutByteOrderMark, parser, () => {
    // The parser has the error too, and gives it to its reader.
  });
  let columns: (Column | undefined)[] | undefined;
  let linesBefore = 0;
  try {
    for await (const { record, info } of parser as AsyncIterable<{ record: string[]; info: { lines: number } }>) {
      // `lines` is the line on which the record ends; between it and the one before may be line breaks in quotes, and empty lines.
      const line = info.lines - linesBefore > 1 ? info.lines - lineBreaks(record) : info.lines;
      linesBefore = info.lines;
      if (columns === undefined) {
        columns = columnsOf(record);
        continue;
      }
      yield { line, fields: fieldsOf(record, columns) };
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw new Error(`${file} cannot be read as CSV: ${(error as Error).message}`, { cause: error });
  }
  if (columns === undefined) throw new Error(`${file} is empty. Its first line names the columns: ${required.join(",")}.`);
}

function columnsOf(header: string[]): (Column | undefined)[] {
  const names = header.map((name) => name.trim().toLowerCase());
  const missing = required.filter((name) => !names.includes(name));
  if (missing.length > 0) throw new Error(`the first line lacks the columns ${missing.join(", ")}`);
  const known: readonly string[] = [...required, ...optional];
  const twice = names.find((name, i) => known.includes(name) && names.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`the first line names the column ${twice} twice`);
  return names.map((name) => (known.includes(name) ? (name as Column) : undefined));
}

function fieldsOf(record: string[], columns: (Column | undefined)[]): CsvRow["fields"] {
  if (record.length !== columns.length) return { problem: `it has ${record.length} fields, the first line ${columns.length}` };
  const fields: Partial<Record<Column, string>> = {};
  columns.forEach((column, i) => {
    if (column !== undefined) fields[column] = record[i] as string;
  });
  return fields;
}

function lineBreaks(record: string[]): number {
  return record.join("").split("\n").length - 1;
}

async function* withoutByteOrderMark(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let first = true;
  for await (const bytes of source) {
    if (first && ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff))) {
      throw new Error("it is UTF-16; save it as UTF-8");
    }
    yield first && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
    first = false;
  }
}
