/** Agents as processes, which an injector finds by name and which are started again when it killed them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type CommandResult, frostline } from "../support/command.js";

const mover = fileURLToPath(new URL("../../examples/mover/main.ts", import.meta.url));
const skewedClock = new URL("./skewed-clock.mjs", import.meta.url).href;
const restartMs = 100;

/** What a command may fail with while the way to its server, the server, or its database fails. */
const explained = [
  /The server cannot be reached: /,
  /The database (could not finish the work|cannot be reached)/,
  /The server is stopping/,
  // The connection was cut in the middle of the call.
  /RST_STREAM|Stream refused by server|Connection dropped|read ECONNRESET|write EPIPE|Call cancelled|Deadline exceeded/,
];

export class Agents {
  /** Of the clocks of those that start from now on. */
  skewMs = 0;
  /** What commands failed with, and how often. */
  readonly failures = new Map<string, number>();
  readonly #running = new Map<string, ChildProcess>();
  #closed = false;

  get running(): [string, ChildProcess][] {
    return [...this.#running].sort(([a], [b]) => (a < b ? -1 : 1));
  }

  /** Failures that no fault explains. */
  get unexplained(): string[] {
    return [...this.failures.keys()].filter((failure) => !explained.some((words) => words.test(failure)));
  }

  /** As Ctrl-C; nothing when it is not running at the moment. */
  interrupt(name: string): void {
    this.#running.get(name)?.kill("SIGINT");
  }

  /** Kills those that still run; none is started again. */
  close(): void {
    this.#closed = true;
    for (const child of this.#running.values()) child.kill("SIGKILL");
  }

  /** A command of the command line, once; status null when it was killed. */
  async once(name: string, args: string[], env: Record<string, string>): Promise<CommandResult> {
    const started = (child: ChildProcess) => void this.#running.set(name, child);
    const result = await frostline([...args, "--json"], { env: { ...env, ...this.#clock() }, started });
    this.#running.delete(name);
    if (result.status === 1) this.#note(`${args[0]}: ${/^error: [\s\S]*$/m.exec(result.stderr)?.[0] ?? result.stderr}`);
    return result;
  }

  /** ... and again as long as it is killed or fails: what cannot be reached when it starts is told at once. */
  async untilDone(name: string, args: string[], env: Record<string, string>, deadline: AbortSignal): Promise<CommandResult> {
    for (;;) {
      const result = await this.once(name, args, env);
      if ((result.status !== null && result.status !== 1) || this.#closed) return result;
      if (deadline.aborted) throw new Error(`${name} does not succeed: ${result.stderr}`);
      await delay(restartMs);
    }
  }

  /** The mover of examples/, until nothing is left to do or it was killed. */
  async move(name: string, args: string[], env: Record<string, string>): Promise<void> {
    const { PATH = "", HOME = "" } = process.env;
    const child = spawn(process.execPath, ["--import", "tsx", mover, ...args], {
      env: { PATH, HOME, ...env, ...this.#clock() },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    this.#running.set(name, child);
    const [status] = (await once(child, "close")) as [number | null];
    this.#running.delete(name);
    // What went wrong with single files is told too, and is tried again by the next one.
    if (status === 2 || /internal error|TypeError|ReferenceError|RangeError|SyntaxError/.test(stderr)) this.#note(`mover: ${stderr}`);
  }

  /** Without what is another each time. */
  #note(failure: string): void {
    const words = failure
      .replace(/\d+\.\d+\.\d+\.\d+:\d+/g, "ADDRESS")
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "ID")
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "TIME")
      .replaceAll("\n", " ")
      .slice(0, 400);
    this.failures.set(words, (this.failures.get(words) ?? 0) + 1);
  }

  #clock(): Record<string, string> {
    if (this.skewMs === 0) return {};
    return { NODE_OPTIONS: `--import=${skewedClock}`, FROSTLINE_TEST_SKEW_MS: String(this.skewMs) };
  }
}
