import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type Placed, Standing } from "../../src/proxy/standing.ts";

type One = Placed & { readonly name: number };

test("whoever entered and did not leave is there, once", () => {
  const steps = fc.array(fc.record({ enters: fc.boolean(), name: fc.nat(9) }), { maxLength: 60 });
  fc.assert(
    fc.property(steps, (given) => {
      const ones = Array.from({ length: 10 }, (_, name): One => ({ name }));
      const standing = new Standing<One>();
      const model = new Set<One>();
      for (const { enters, name } of given) {
        const one = ones[name]!;
        if (!enters) standing.leave(one);
        else if (!model.has(one)) standing.enter(one);
        if (enters) model.add(one);
        else model.delete(one);
        expect(standing.size).toBe(model.size);
      }
      expect(new Set(standing)).toEqual(model);
      expect([...standing]).toHaveLength(model.size);
    }),
    { seed: 20_261_127, numRuns: 500 },
  );
});

test("who leaves while all are gone through is passed over, and who enters is not met", () => {
  const [first, second, third, late] = [1, 2, 3, 4].map((name): One => ({ name })) as [One, One, One, One];
  const standing = new Standing<One>();
  for (const one of [first, second, third]) standing.enter(one);
  const met: number[] = [];
  for (const { name } of standing) {
    met.push(name);
    if (name !== 1) continue;
    standing.leave(first);
    standing.leave(second);
    standing.enter(late);
  }
  expect(met).toEqual([1, 3]);
  expect(new Set(standing)).toEqual(new Set([third, late]));
});
