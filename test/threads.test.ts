/** Node's threads, which every open, read and stat waits in. */
import * as fs from "node:fs/promises";
import { expect, test } from "vitest";
import { spawnServer } from "./support/server.js";

test.skipIf(process.platform !== "linux")("the program has 16 of them, or as many as it is told", async () => {
  const threads = async (env: Record<string, string>) => {
    const server = await spawnServer({ env });
    try {
      return (await fs.readdir(`/proc/${server.pid}/task`)).length;
    } finally {
      await server.close();
    }
  };
  const few = await threads({ UV_THREADPOOL_SIZE: "4" });
  expect((await threads({})) - few).toBe(Number(process.env.UV_THREADPOOL_SIZE ?? 16) - 4);
});
