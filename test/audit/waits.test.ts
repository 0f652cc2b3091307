import { describe, expect, test } from "vitest";
import { lull } from "../../src/audit/waits.ts";

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe("a lull", () => {
  test("is the end of the first turn that brought nothing more", async () => {
    let [gathered, over] = [1, false];
    const lulled = lull(() => gathered, { ms: 60_000 }).then(() => (over = true));
    for (let more = 0; more < 5; more++) {
      await turn();
      expect(over).toBe(false);
      gathered++;
    }
    // One turn sees the last that came, the next one that nothing did.
    await turn();
    expect(over).toBe(false);
    await lulled;
  });

  test("is not waited for once it is enough", async () => {
    let gathered = 0;
    await lull(() => ++gathered, { enough: 7, ms: 60_000 });
    expect(gathered).toBe(7);
  });

  test("is not waited for longer than so long, however much comes", async () => {
    let gathered = 0;
    const from = performance.now();
    await lull(() => ++gathered, { enough: Infinity, ms: 20 });
    expect(performance.now() - from).toBeGreaterThanOrEqual(20);
    expect(gathered).toBeGreaterThan(2);
  });
});
