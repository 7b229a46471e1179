/** docs/settings.md, out of the schema of the settings. `npm run gen:docs` writes it. */
import * as fs from "node:fs";
import { fileURLToPath } from "node:url";
import { describedSettings } from "../src/config.js";

const head = `<!-- Written by \`npm run gen:docs\` out of src/config.ts: change it there. -->

# Settings

Every setting of the server is an environment variable; an empty one counts as unset. Commands and agents read a few of their own, see the [README](../README.md) and \`frostline COMMAND --help\`.

| variable | default | |
|---|---|---|
`;

export function settingsPage(): string {
  const rows = describedSettings.map(({ name, fallback, description }) => {
    const cell = fallback === undefined ? " " : ` \`${fallback}\` `;
    return `| \`${name}\` |${cell}| ${description} |\n`;
  });
  return head + rows.join("");
}

const page = new URL("../docs/settings.md", import.meta.url);
if (process.argv[1] === fileURLToPath(import.meta.url)) fs.writeFileSync(page, settingsPage());
