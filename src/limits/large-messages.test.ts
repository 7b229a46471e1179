import { expect, test } from "vitest";
import { LargeMessages } from "./large-messages.js";

const mib = 1024 * 1024;
const tooMany = expect.objectContaining({ code: "RESOURCE_EXHAUSTED", reason: "TOO_MANY_LARGE_MESSAGES" });

test("a group holds so much, and all together", () => {
  const messages = new LargeMessages({ ofGroup: 4 * mib, inTotal: 6 * mib });
  const [one, two, other] = [messages.room("a"), messages.room("a"), messages.room("b")];
  one.hold(3 * mib);
  two.hold(mib / 2);
  expect(() => two.hold(2 * mib)).toThrow(tooMany);
  two.hold(mib);
  expect(() => other.hold(3 * mib)).toThrow(tooMany);
  other.hold(2 * mib);
  one.hold(0);
  other.hold(4 * mib);
  for (const room of [two, other]) room.hold(0);
  const another = messages.room("c");
  for (const bytes of [mib, 2 * mib, 4 * mib]) another.hold(bytes);
});
