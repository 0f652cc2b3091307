import { expect, test } from "vitest";
import { Backoff } from "../../src/cluster/backoff.ts";

test("each worker may end once; those that follow wait twice as long each time, within a bound", () => {
  const backoff = new Backoff(2);
  const waits = Array.from({ length: 14 }, () => backoff.ended(0));
  expect(waits.slice(0, 5)).toEqual([0, 0, 100, 200, 400]);
  expect(Math.max(...waits)).toBe(30_000);
  expect(waits.at(-1)).toBe(30_000);
});

test("it is hopeless after so many, and not after one that lived for long", () => {
  const backoff = new Backoff(2);
  for (let ends = 0; ends < 7; ends++) backoff.ended(9_999);
  expect(backoff.hopeless).toBe(false);
  backoff.ended(9_999);
  expect(backoff.hopeless).toBe(true);
  expect(backoff.ended(10_000)).toBe(0);
  expect(backoff.hopeless).toBe(false);
});
