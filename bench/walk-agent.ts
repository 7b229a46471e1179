/** The agent's walk alone, to the chunks that it would send. Usage: walk-agent.ts ROOT. Prints {"files", "seconds"}. */
import { toChunks } from "../src/agent/chunker.js";
import { newWalkStats, walk } from "../src/agent/walk.js";

const [root] = process.argv.slice(2) as [string];

const startMs = performance.now();
const stats = newWalkStats();
let files = 0;
for await (const chunk of toChunks(walk(root, { stats }))) for (const directory of chunk.directories) files += directory.files.length;
if (files !== stats.files) throw new Error(`${files} files are in chunks, ${stats.files} were walked`);
console.log(JSON.stringify({ files, seconds: (performance.now() - startMs) / 1000 }));
