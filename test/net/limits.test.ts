import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";

test("every default bound is a positive integer", () => {
  for (const value of Object.values(DEFAULT_LIMITS)) {
    expect(Number.isSafeInteger(value) && value > 0).toBe(true);
  }
});
