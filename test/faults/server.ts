/** A server as a process that is started again whenever it ends, as an init system would, on the same ports. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { nodeArguments } from "../support/program.js";
import { assertNoSecrets } from "../support/watched-output.js";
import { freePort, type Link } from "./link.js";

const restartMs = 200;
const listenDeadlineMs = 60_000;
const scrapeTimeoutMs = 5000;
const preload = new URL("./collect-garbage.mjs", import.meta.url).href;

/** What nobody foresaw; what a fault explains is said at other levels or in other words. */
const unforeseen = /"msg":"(a call failed for an unexpected reason|stopping: phase failed[^"]*|the HTTP port failed to answer)"/;

export class FaultyServer {
  readonly name: string;
  readonly port: number;
  /** What went wrong that should not, whatever happens around it. */
  readonly findings: string[] = [];
  readonly #httpPort: number;
  readonly #databaseUrl: string;
  #child: ChildProcess;
  #output = "";
  #killed = false;
  #stopping = false;
  readonly #watch: Promise<void>;

  private constructor(name: string, ports: [number, number], databaseUrl: string) {
    this.name = name;
    [this.port, this.#httpPort] = ports;
    this.#databaseUrl = databaseUrl;
    this.#child = this.#spawn();
    this.#watch = this.#keepUp();
  }

  /** On the database behind the link. */
  static async start(name: string, runtimeUrl: string, link: Link): Promise<FaultyServer> {
    const url = Object.assign(new URL(runtimeUrl), { port: String(link.port) }).href;
    const server = new FaultyServer(name, [await freePort(), await freePort()], url);
    await server.untilListening();
    return server;
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** The end of what it said. */
  get tail(): string {
    return this.#output.slice(-4000);
  }

  kill(): void {
    this.#killed = true;
    this.#child.kill("SIGKILL");
  }

  pause(): () => void {
    const child = this.#child;
    child.kill("SIGSTOP");
    return () => void child.kill("SIGCONT");
  }

  async untilListening(): Promise<void> {
    for (const end = performance.now() + listenDeadlineMs; ; await delay(100)) {
      if (await this.metrics().catch(() => undefined)) return;
      if (performance.now() > end) throw new Error(`${this.name} does not listen:\n${this.tail}`);
    }
  }

  /** By name, the sum over all labels. */
  async metrics(): Promise<Map<string, number>> {
    const answer = await fetch(`http://127.0.0.1:${this.#httpPort}/metrics`, { signal: AbortSignal.timeout(scrapeTimeoutMs) });
    const sums = new Map<string, number>();
    for (const line of (await answer.text()).split("\n")) {
      const [, name, labels = "", value] = /^([a-z_]+)(\{[^}]*\})? (\S+)$/.exec(line) ?? [];
      if (name === undefined) continue;
      for (const key of [name, name + labels]) sums.set(key, (labels === "" ? 0 : (sums.get(key) ?? 0)) + Number(value));
    }
    return sums;
  }

  /** What its heap holds and what it holds beside it, once there is no garbage. */
  async heldBytes(): Promise<number> {
    this.#child.kill("SIGUSR2");
    const metrics = await this.metrics();
    return (metrics.get("nodejs_heap_size_used_bytes") ?? Number.NaN) + (metrics.get("nodejs_external_memory_bytes") ?? Number.NaN);
  }

  /** As an operator would; resolves once it has drained. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#child.kill("SIGCONT");
    this.#child.kill("SIGTERM");
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 30_000);
    await this.#watch.finally(() => clearTimeout(late));
    if (this.#child.exitCode !== 0)
      this.findings.push(`${this.name} ended with ${this.#child.exitCode ?? this.#child.signalCode}: ${this.tail}`);
    this.#searchOutput();
  }

  #spawn(): ChildProcess {
    const args = [...nodeArguments("--expose-gc", "--import", preload), "serve"];
    const { PATH = "", HOME = "" } = process.env;
    const child = spawn(process.execPath, args, {
      env: {
        PATH,
        HOME,
        DATABASE_URL: this.#databaseUrl,
        FROSTLINE_LISTEN: `127.0.0.1:${this.port}`,
        FROSTLINE_HTTP_LISTEN: `127.0.0.1:${this.#httpPort}`,
        FROSTLINE_LOG_LEVEL: "info",
        FROSTLINE_MAINTENANCE_SECONDS: "5",
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (data: Buffer) => {
        this.#output += data;
      });
    }
    return child;
  }

  async #keepUp(): Promise<void> {
    for (;;) {
      const before = this.#output.length;
      if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, "close");
      if (this.#stopping) return;
      const said = this.#output.slice(before);
      // Without its database it does not start; once it listens, it goes on whatever happens.
      if (!this.#killed && said.includes("Listening on"))
        this.findings.push(`${this.name} ended by itself (${this.#child.exitCode ?? this.#child.signalCode}): ${said.slice(-2000)}`);
      this.#killed = false;
      await delay(restartMs);
      if (this.#stopping) return;
      this.#child = this.#spawn();
    }
  }

  #searchOutput(): void {
    assertNoSecrets(`the output of ${this.name}`, this.#output);
    for (const line of this.#output.split("\n")) if (unforeseen.test(line)) this.findings.push(`${this.name}: ${line.slice(0, 1500)}`);
  }
}
