import { expect, test } from "vitest";
import { FailedAuthentications } from "./failed-authentications.js";

const wrong = new Error("wrong");
const down = new Error("down");
const isWrong = (error: unknown) => error === wrong;

function guesser(perMinute: number) {
  let nowMs = 0;
  const failed = new FailedAuthentications({ perMinute, now: () => nowMs });
  let looks = 0;
  const attempt = (address: string, credential: string, answer: "good" | Error = wrong) =>
    failed
      .attempt(
        address,
        credential,
        async () => {
          looks += 1;
          if (answer instanceof Error) throw answer;
          return answer;
        },
        isWrong,
      )
      .catch((error: { message: string; reason?: string }) => error.reason ?? error.message);
  return { attempt, pass: (ms: number) => (nowMs += ms), looks: () => looks };
}

test("tokens come back with time, one by one", async () => {
  const { attempt, pass, looks } = guesser(2);
  expect([await attempt("a", "1"), await attempt("a", "2")]).toEqual(["wrong", "wrong"]);
  expect(await attempt("a", "3")).toBe("TOO_MANY_FAILED_AUTHENTICATIONS");
  expect(looks()).toBe(2);
  pass(29_999);
  expect(await attempt("a", "3")).toBe("TOO_MANY_FAILED_AUTHENTICATIONS");
  pass(1);
  expect(await attempt("a", "3")).toBe("wrong");
  pass(600_000);
  for (let n = 0; n < 2; n++) expect(await attempt("a", `4${n}`)).toBe("wrong");
  expect(await attempt("a", "5")).toBe("TOO_MANY_FAILED_AUTHENTICATIONS");
});

test("a credential that is good costs nothing, nor does one that nobody could look up", async () => {
  const { attempt } = guesser(1);
  for (let n = 0; n < 5; n++) expect(await attempt("a", `good ${n}`, "good")).toBe("good");
  for (let n = 0; n < 5; n++) expect(await attempt("a", "unknown", down)).toBe("down");
  expect(await attempt("a", "x")).toBe("wrong");
});

test("what was good is looked at even if its address has guessed too often, until it is not good any more", async () => {
  const { attempt } = guesser(1);
  expect(await attempt("a", "key", "good")).toBe("good");
  expect(await attempt("a", "x")).toBe("wrong");
  expect(await attempt("a", "other", "good")).toBe("TOO_MANY_FAILED_AUTHENTICATIONS");
  expect(await attempt("a", "key", "good")).toBe("good");
  expect(await attempt("a", "key", down)).toBe("down");
  expect(await attempt("a", "key")).toBe("wrong");
  expect(await attempt("a", "key")).toBe("TOO_MANY_FAILED_AUTHENTICATIONS");
});

test("of a thousand at once no more are looked at than there are tokens", async () => {
  const { attempt, looks } = guesser(7);
  await Promise.all(Array.from({ length: 1000 }, (_, n) => attempt("a", String(n))));
  expect(looks()).toBe(7);
});

test.each([
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::1", true],
  ["2001:db8::1", "2001:db8:0:0:ffff::", true],
  ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
  ["::1", "::2", true],
  ["::ffff:192.0.2.1", "::ffff:192.0.2.2", false],
  ["192.0.2.1", "192.0.2.2", false],
])("%s and %s share their tokens: %s", async (one, other, share) => {
  const { attempt } = guesser(1);
  expect(await attempt(one, "x")).toBe("wrong");
  expect(await attempt(other, "y")).toBe(share ? "TOO_MANY_FAILED_AUTHENTICATIONS" : "wrong");
});
