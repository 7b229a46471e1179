/** The mover's command line: `npx tsx examples/mover/main.ts --help`. */
import { hostname } from "node:os";
import * as path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { bringBack, findOrphans } from "./orphans.js";
import { runMover } from "./run.js";

const usage = `Usage: tsx examples/mover/main.ts --share NAME --root DIR [options]

  --share NAME           the share
  --root DIR             where it is mounted
  --server HOST:PORT     default: FROSTLINE_SERVER, or 127.0.0.1:50051
  --key KEY              scope agent or operator; default: FROSTLINE_KEY
  --holder NAME          who has claimed what; default: this host and process
  --lease-seconds N      default 300; renewed while a file is copied
  --workers N            files at once, default 4
  --follow SECONDS       look again after so many seconds, until it is stopped; without it, until nothing is left
  --orphans              moves nothing: lists stubs that the server does not know, as after its database was set back (key of scope reader)
  --bring-back           with --orphans: puts their content back in their place
`;

const { values } = parseArgs({
  options: {
    share: { type: "string" },
    root: { type: "string" },
    server: { type: "string", default: process.env.FROSTLINE_SERVER ?? "127.0.0.1:50051" },
    key: { type: "string", default: process.env.FROSTLINE_KEY ?? "" },
    holder: { type: "string", default: `${hostname()} ${process.pid}` },
    "lease-seconds": { type: "string", default: "300" },
    workers: { type: "string", default: "4" },
    follow: { type: "string" },
    orphans: { type: "boolean", default: false },
    "bring-back": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

function whole(name: string, text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new Error(`--${name} must be a whole number from 1 to 99999.`);
  return Number(text);
}

async function main(): Promise<void> {
  const { share, root, key } = values;
  if (values.help || share === undefined || root === undefined || key === "") {
    process.stderr.write(usage);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  const options = {
    server: values.server,
    key,
    shareName: share,
    root: path.resolve(root),
    holder: values.holder,
    leaseSeconds: whole("lease-seconds", values["lease-seconds"]),
    workers: whole("workers", values.workers),
    log: (message: string) => void process.stderr.write(`${message}\n`),
    signal: stop.signal,
  };
  if (values.orphans) return handleOrphans(options);
  do {
    const moved = await runMover(options);
    process.stdout.write(`${JSON.stringify(moved)}\n`);
    if (moved.failed + moved.lost > 0) process.exitCode = 3;
    if (values.follow === undefined) return;
    await delay(whole("follow", values.follow) * 1000, undefined, { signal: stop.signal }).catch(() => {});
  } while (!stop.signal.aborted);
}

/** One line of JSON for each. */
async function handleOrphans(options: Parameters<typeof findOrphans>[0]): Promise<void> {
  for (const orphan of await findOrphans(options)) {
    if (values["bring-back"]) await bringBack(orphan, options.root, options.signal);
    const { tierId, objectUri } = orphan.stub;
    process.stdout.write(
      `${JSON.stringify({ file: orphan.file, tierId: String(tierId), objectUri, broughtBack: values["bring-back"] })}\n`,
    );
  }
}

await main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
