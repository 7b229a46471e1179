/** Reads tables and headings of a markdown page. */

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

/** What links to the page's sections end with, as renderers make it of the headings. */
export function anchors(text: string): Set<string> {
  const headings = [...text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#+ (.+)$/gm)].map((match) => match[1] as string);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
