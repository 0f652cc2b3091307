import { describe, expect, test } from "vitest";
import { afterLull } from "../../src/audit/waits.ts";

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

describe("a lull", () => {
  test("is the end of the first turn that brought nothing more", async () => {
    let [gathered, over] = [1, false];
    afterLull(
      () => gathered,
      60_000,
      () => (over = true),
    );
    for (let more = 0; more < 5; more++) {
      await turn();
      expect(over).toBe(false);
      gathered++;
    }
    // One turn sees the last that came, the next one that nothing did.
    await turn();
    expect(over).toBe(false);
    await turn();
    expect(over).toBe(true);
  });

  test("is not waited for longer than so long, however much comes", async () => {
    let gathered = 0;
    const from = performance.now();
    await new Promise<void>((resolve) => afterLull(() => ++gathered, 20, resolve));
    expect(performance.now() - from).toBeGreaterThanOrEqual(20);
    expect(gathered).toBeGreaterThan(2);
  });
});
