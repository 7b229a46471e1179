/** Who gets a thread to look a name up, and when. */
import { afterEach, expect, test, vi } from "vitest";
import { lookupsAtMost, lookupsOfTenantAtMost, requestMs } from "./limits.js";
import { Lookups } from "./lookups.js";

afterEach(() => vi.useRealTimers());

/** Names are found when a test says so; `started` has those that have a thread, or had one. */
function slowNames() {
  const started: string[] = [];
  const finish = new Map<string, () => void>();
  const lookups = new Lookups((hostname, _, callback) => {
    started.push(hostname);
    finish.set(hostname, () => callback(null, [{ address: "192.0.2.1", family: 4 }]));
  });
  const found: string[] = [];
  const look = (tenantId: string, name: string) =>
    lookups.of(tenantId)(name, { all: true }, (error, addresses) => found.push(`${name} ${error?.code ?? addresses[0]?.address}`));
  return { started, found, look, finish: (name: string) => finish.get(name)?.() };
}

test("a tenant whose names hang has few threads, and others find theirs", () => {
  const { started, found, look, finish } = slowNames();
  for (let no = 0; no < 16; no++) look("a", `a${no}`);
  expect(started).toEqual(["a0", "a1"].slice(0, lookupsOfTenantAtMost));
  look("b", "b0");
  finish("b0");
  expect(found).toEqual(["b0 192.0.2.1"]);
  // Each that ends makes room for the oldest that waits.
  finish("a1");
  expect(started).toEqual(["a0", "a1", "b0", "a2"]);
});

test("all together have no more than there are, and whoever waits longest comes first", () => {
  const { started, look, finish } = slowNames();
  const tenants = Array.from({ length: lookupsAtMost + 2 }, (_, no) => `${no}`);
  for (const tenant of tenants) look(tenant, tenant);
  expect(started).toEqual(tenants.slice(0, lookupsAtMost));
  finish("3");
  expect(started.at(-1)).toBe(tenants[lookupsAtMost]);
});

test("one that waits longer than its request is told, never started, and forgotten", () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  const { started, found, look, finish } = slowNames();
  for (let no = 0; no < 4; no++) look("a", `a${no}`);
  vi.advanceTimersByTime(requestMs);
  look("a", "late");
  expect(found).toEqual(["a2 EAI_AGAIN", "a3 EAI_AGAIN"]);
  finish("a0");
  expect(started).toEqual(["a0", "a1", "late"]);
});
