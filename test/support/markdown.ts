/** Reads the tables of a markdown page. */

export interface MarkdownTable {
  /** The nearest heading above, without its #s. */
  heading: string;
  columns: string[];
  rows: string[][];
}

export function markdownTables(text: string): MarkdownTable[] {
  const tables: MarkdownTable[] = [];
  let heading = "";
  let open: MarkdownTable | undefined;
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) heading = line.replace(/^#+\s*/, "");
    if (!line.startsWith("|")) {
      open = undefined;
    } else if (open === undefined) {
      open = { heading, columns: cells(line), rows: [] };
      tables.push(open);
    } else if (!/^[|:\s-]+$/.test(line)) {
      open.rows.push(cells(line));
    }
  }
  return tables;
}

function cells(line: string): string[] {
  return line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());
}
