/** Where the time of one piece of work went. */
export class Stopwatch<Phase extends string> {
  readonly seconds: Record<Phase, number>;
  #sinceMs = performance.now();

  constructor(phases: readonly Phase[]) {
    this.seconds = Object.fromEntries(phases.map((phase) => [phase, 0])) as Record<Phase, number>;
  }

  /** What has passed since the last call, or the beginning, was this. */
  was(phase: Phase): void {
    const nowMs = performance.now();
    this.seconds[phase] += (nowMs - this.#sinceMs) / 1000;
    this.#sinceMs = nowMs;
  }
}
