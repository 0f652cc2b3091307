import { expect, test } from "vitest";
import { createGuessLimiter } from "../../src/identity/guess-limiter.ts";

const limits = { attempts: 3, firstWaitMs: 100, longestWaitMs: 1_000, forgetMs: 10_000, sources: 4 };
const A = "192.0.2.1";

function fail(limiter: ReturnType<typeof createGuessLimiter>, source: string, times: number, at = 0): void {
  for (let n = 0; n < times; n++) limiter.failure(source, at);
}

test.each([
  [0, 0],
  [2, 0],
  [3, 100],
  [4, 200],
  [6, 800],
  [7, 1_000],
  [5_000, 1_000],
])("after %i wrong guesses the wait is %i ms", (failures, wait) => {
  const limiter = createGuessLimiter(limits);
  fail(limiter, A, failures);
  expect(limiter.waitMs(A, 0)).toBe(wait);
});

test("a wait ends, and the next wrong guess doubles it", () => {
  const limiter = createGuessLimiter(limits);
  fail(limiter, A, 3, 1_000);
  expect([1_000, 1_099, 1_100].map((at) => limiter.waitMs(A, at))).toEqual([100, 1, 0]);
  limiter.failure(A, 1_100);
  expect(limiter.waitMs(A, 1_100)).toBe(200);
});

test("a source that stays quiet starts anew", () => {
  const limiter = createGuessLimiter(limits);
  fail(limiter, A, 6);
  fail(limiter, "192.0.2.2", 6);
  limiter.failure(A, 9_999);
  expect(limiter.waitMs(A, 9_999)).toBe(1_000);
  limiter.failure("192.0.2.2", 10_000);
  expect(limiter.waitMs("192.0.2.2", 10_000)).toBe(0);
});

test("sources do not share a wait, but an IPv6 /64 is one source", () => {
  const limiter = createGuessLimiter({ ...limits, sources: 10 });
  fail(limiter, A, 3);
  expect(limiter.waitMs("192.0.2.2", 0)).toBe(0);
  // Dual-stack listeners see IPv4 sources in this spelling.
  expect(limiter.waitMs(`::ffff:${A}`, 0)).toBe(100);
  expect(limiter.waitMs("::ffff:192.0.2.2", 0)).toBe(0);
  fail(limiter, "2001:db8::1", 2);
  limiter.failure("2001:db8:0:0:ffff::1", 0);
  expect(limiter.waitMs("2001:db8::2", 0)).toBe(100);
  expect(limiter.waitMs("2001:db8:0:1::1", 0)).toBe(0);
});

test("memory is bounded: the source quiet the longest is forgotten", () => {
  const limiter = createGuessLimiter(limits);
  const sources = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"];
  for (const source of sources) fail(limiter, source, 3);
  limiter.failure("192.0.2.1", 1);
  limiter.failure("192.0.2.5", 1);
  expect(sources.map((source) => limiter.waitMs(source, 1) > 0)).toEqual([true, false, true, true]);
});

test("a clock that is set back does not lengthen a wait", () => {
  const limiter = createGuessLimiter(limits);
  fail(limiter, A, 3, 1_000_000);
  expect(limiter.waitMs(A, 0)).toBe(1_000);
});
