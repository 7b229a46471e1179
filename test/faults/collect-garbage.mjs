/** Loaded before a server, with --expose-gc: what it holds after SIGUSR2 is what it needs. */
process.on("SIGUSR2", () => globalThis.gc());
