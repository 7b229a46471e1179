/** Ctrl-C and SIGTERM, for commands that have something to bring to an end. */

export interface Interrupt {
  /** Aborted by the first SIGINT or SIGTERM. */
  signal: AbortSignal;
  /** Gives the signals their usual effect back. */
  dispose(): void;
}

/** Until disposed of, the first signal asks to stop and the second quits at once; `onSecond` is run before that. */
export function catchInterrupt(onSecond: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  const onSignal = () => {
    if (!controller.signal.aborted) return controller.abort();
    onSecond();
    process.exit(1);
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  return {
    signal: controller.signal,
    dispose: () => void process.off("SIGINT", onSignal).off("SIGTERM", onSignal),
  };
}
