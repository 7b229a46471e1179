/** `demo [DIR]`: everything at once, on a PostgreSQL, a server and a socket of its own. */
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { type Client, createClient } from "../agent/client.js";
import type { Scan } from "../gen/frostline/v1/scan_pb.js";
import { action, type Context } from "./command.js";
import { type DemoFolder, makeDemoFolder } from "./demo/change.js";
import { demoServer } from "./demo/server.js";
import { goOnLines, sayChanges, sayFound, sayInventory, scanOnce, shareFor } from "./demo/steps.js";
import { type ExitStatus, Interrupted } from "./errors.js";
import { duration } from "./format.js";
import { catchInterrupt } from "./interrupt.js";

/** What a demo step works with. */
export interface Demo {
  context: Context;
  /** Absolute. */
  root: string;
  shareName: string;
  agent: Client;
  reader: Client;
  signal: AbortSignal;
  /** Lines for people; to stderr when stdout is for JSON. */
  say(lines: string[]): Promise<void>;
}

const checkout = fileURLToPath(new URL("../..", import.meta.url));

export function addDemo(program: Command): void {
  program
    .command("demo [dir]")
    .description("start an own PostgreSQL and server, scan a directory twice (default: this program's own) and show what was found")
    .action(action((context, _options: object, dir?: string) => demo(context, resolveDir(dir))));
}

/** npm runs scripts in the package's directory; what the user typed is relative to where they stood. */
function resolveDir(dir: string | undefined): string {
  const from = process.env.npm_lifecycle_event === "demo" ? process.env.INIT_CWD : undefined;
  return dir === undefined ? path.resolve(checkout) : path.resolve(from ?? ".", dir);
}

async function demo(context: Context, root: string): Promise<ExitStatus> {
  const startedMs = Date.now();
  let folder: DemoFolder | undefined;
  const interrupt = catchInterrupt(() => folder?.remove());
  const say = async (lines: string[]) => (context.output.json ? context.output.note(lines.join("\n")) : context.output.print(lines));
  await say([`Starting PostgreSQL and the server; their data is in ${path.resolve(context.global.data, "demo")}`]);
  const server = await demoServer(path.resolve(context.global.data, "demo"));
  const agent = createClient({ server: server.address, key: server.keys.agent });
  const reader = createClient({ server: server.address, key: server.keys.reader });
  try {
    interrupt.signal.throwIfAborted();
    const shareName = await shareFor(server, root);
    const run: Demo = { context, root, shareName, agent, reader, signal: interrupt.signal, say };
    folder = await makeDemoFolder(root);
    if (folder === undefined) await say([`${root} is not writable: it is scanned twice without a change between.`]);
    const [first, second] = await twoScans(run, folder);
    await say(["", `All of this took ${duration(Date.now() - startedMs)}.`, "", ...goOnLines(run, first, second)]);
    return 0;
  } catch (error) {
    if (interrupt.signal.aborted) throw new Interrupted("Stopped.");
    throw error;
  } finally {
    folder?.remove();
    agent.close();
    reader.close();
    await server.close();
    interrupt.dispose();
  }
}

async function twoScans(run: Demo, folder: DemoFolder | undefined): Promise<[Scan, Scan]> {
  const first = await scanOnce(run, "First scan");
  await sayFound(run, first);
  await folder?.change();
  const second = await scanOnce(
    run,
    folder === undefined ? "Second scan" : `Second scan, after an edit, an addition, a deletion and a renaming in ${folder.name}`,
  );
  await sayChanges(run, first, second, folder?.name);
  await sayInventory(run, second);
  return [first, second];
}
