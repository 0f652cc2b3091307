import * as fc from "fast-check";
import { expect, test } from "vitest";
import { copyOf } from "../../src/net/slab.ts";

test("copies are of their own, and keep 8 KiB at most or no more than themselves", () => {
  const length = fc.oneof(fc.nat(64), fc.nat(5000), fc.constantFrom(2047, 2048, 2049, 8192, 8193));
  fc.assert(
    fc.property(fc.array(length, { minLength: 1, maxLength: 40 }), (lengths) => {
      const copies = lengths.map((length, index) => {
        const octets = Buffer.alloc(length, index + 1);
        const copy = copyOf(octets);
        octets.fill(0);
        return copy;
      });
      for (const [index, copy] of copies.entries()) {
        expect(copy.equals(Buffer.alloc(lengths[index] ?? 0, index + 1))).toBe(true);
        expect(copy.buffer.byteLength).toBe(copy.length > 2048 ? copy.length : 8192);
      }
    }),
    { seed: 20_261_127, numRuns: 300 },
  );
});
