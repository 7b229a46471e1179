import { expect, test } from "vitest";
import { createClient } from "../../src/agent/client.js";
import { ShareService, SourceType } from "../../src/gen/frostline/v1/share_pb.js";
import { createTestDatabase } from "./postgres.js";
import { spawnServer, startTestServer } from "./server.js";

test("two servers on one database, one in this process and one that is killed", async () => {
  const database = await createTestDatabase();
  const inside = await startTestServer({ database });
  const outside = await spawnServer({ database, tenant: inside });
  await call(outside.address, inside.keys.operator, (client) =>
    client.unary(ShareService.method.createShare, { shareName: "films", sourceType: SourceType.NTFS }),
  );
  await outside.kill();
  expect(await outside.exited).toBe("SIGKILL");
  const { shares } = await call(inside.address, inside.keys.reader, (client) => client.unary(ShareService.method.listShares, {}));
  expect(shares.map((share) => share.shareName)).toEqual(["films"]);
  await inside.close();
  await database.drop();
});

async function call<T>(address: string, key: string, work: (client: ReturnType<typeof createClient>) => Promise<T>): Promise<T> {
  const client = createClient({ server: address, key });
  try {
    return await work(client);
  } finally {
    client.close();
  }
}
