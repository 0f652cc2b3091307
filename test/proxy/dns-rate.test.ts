import { expect, test } from "vitest";
import { createDnsRate } from "../../src/proxy/dns-rate.ts";

/** How many of `tries` are taken. */
const taken = (
  rate: ReturnType<typeof createDnsRate>,
  source: string | (() => string),
  tries: number,
  at: number,
) =>
  Array.from({ length: tries }).filter(() => rate.take(typeof source === "string" ? source : source(), at))
    .length;

test("a burst, then so many a second", () => {
  const rate = createDnsRate({ perSecond: 10, burst: 20 });
  expect(taken(rate, "10.0.0.1", 30, 0)).toBe(20);
  expect(taken(rate, "10.0.0.1", 30, 99)).toBe(0);
  expect(taken(rate, "10.0.0.1", 30, 100)).toBe(1);
  expect(taken(rate, "10.0.0.1", 30, 1_100)).toBe(10);
  expect(taken(rate, "10.0.0.1", 30, 3_600_000)).toBe(20);
  // A clock that steps back gives nothing.
  expect(taken(rate, "10.0.0.1", 30, 0)).toBe(0);
});

test("each source has its own; all together have eight times that", () => {
  const rate = createDnsRate({ perSecond: 10, burst: 20 });
  const each = Array.from({ length: 10 }, (_, at) => taken(rate, `10.0.0.${at}`, 30, 0));
  expect(each).toEqual([20, 20, 20, 20, 20, 20, 20, 20, 0, 0]);
});

test.each([
  ["10.0.0.1", "::ffff:10.0.0.1"],
  ["2001:db8::1", "2001:db8::ffff:1"],
  ["fe80::1%eth0", "fe80::2%eth0"],
])("%s and %s are one source", (one, other) => {
  const rate = createDnsRate({ perSecond: 1, burst: 2 });
  expect([rate.take(one, 0), rate.take(other, 0), rate.take(one, 0)]).toEqual([true, true, false]);
});

test("a flood of sources is bounded, in what is remembered and in what is answered", () => {
  const rate = createDnsRate({ perSecond: 10, burst: 20, sources: 4 });
  let next = 0;
  const other = (): string => `10.${(next >> 16) & 255}.${(next >> 8) & 255}.${next++ & 255}`;
  expect(taken(rate, other, 10_000, 0)).toBe(160);
});
