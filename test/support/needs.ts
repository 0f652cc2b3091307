// Suites that need more of a machine than Node. In CI what is missing is a failure; elsewhere the suite is skipped and says why.

import { describe, test } from "vitest";

/** `missing`: what there is not, with what would bring it; `undefined` where nothing is missing. */
export function describeUnless(title: string, missing: string | undefined, body: () => void): void {
  if (missing === undefined) return void describe(title, body);
  if (process.env["CI"] === undefined) return void describe.skip(`${title} - ${missing}`, body);
  describe(title, () => {
    test("has what it needs", () => {
      throw new Error(missing);
    });
  });
}
