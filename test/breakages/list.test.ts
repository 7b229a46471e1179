/** That the list still fits the code and the tests. That each breakage is caught: `npm run test:breakages`, which takes some minutes. */
import { expect, test } from "vitest";
import { packageRoot } from "../../src/db/embedded.js";
import { hasTest, misfits } from "./breakage.js";
import { breakages } from "./list.js";

test.each(breakages)("$name", (breakage) => {
  expect(misfits(packageRoot, breakage)).toEqual([]);
  expect(hasTest(packageRoot, breakage.caughtBy), `${breakage.caughtBy.file} has the test that it names`).toBe(true);
});

test("each has a name of its own", () => {
  expect(new Set(breakages.map(({ name }) => name)).size).toBe(breakages.length);
});
