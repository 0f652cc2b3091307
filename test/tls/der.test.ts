import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  encoded,
  integer,
  octets,
  readChildren,
  readElement,
  sequence,
  time,
  toDer,
  unsigned,
} from "../../src/tls/der.ts";

test.each([0, 1, 127, 128, 255, 256, 65_535, 65_536])("%i octets come back as written", (length) => {
  const content = Buffer.alloc(length, 0xa5);
  const read = readElement(toDer(octets(content)));
  expect(read.tag).toBe(0x04);
  expect(read.content.equals(content)).toBe(true);
});

test.each([
  ["nothing", ""],
  ["an identifier alone", "04"],
  ["an indefinite length", "0480"],
  ["a length of four octets", "0484"],
  ["a length cut short", "048201"],
  ["content cut short", "040201"],
])("refuses %s", (_name, hex) => {
  expect(() => readElement(Buffer.from(hex, "hex"))).toThrow(RangeError);
});

test.each([
  ["7f", "02017f"],
  ["80", "02020080"],
  ["ff01", "020300ff01"],
])("unsigned %s stays positive", (hex, der) => {
  expect(toDer(unsigned(Buffer.from(hex, "hex"))).toString("hex")).toBe(der);
});

// RFC 5280 §4.1.2.5: through 2049 UTCTime, from 2050 GeneralizedTime.
test.each([
  [Date.UTC(2026, 10, 22, 8, 5, 9, 999), "17", "261122080509Z"],
  [Date.UTC(2049, 11, 31, 23, 59, 59), "17", "491231235959Z"],
  [Date.UTC(2050, 0, 1), "18", "20500101000000Z"],
])("time %i is written as tag %s %s", (at, tag, text) => {
  const read = readElement(toDer(time(at)));
  expect({ tag: read.tag.toString(16), text: read.content.toString() }).toEqual({ tag, text });
});

test("what is encoded already is taken up byte for byte", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (contents) => {
      const inner = toDer(sequence(...contents.map((content) => octets(content)), integer(5)));
      const outer = readElement(toDer(sequence(encoded(inner), encoded(inner))));
      expect(readChildren(outer.content).map((child) => child.whole.equals(inner))).toEqual([true, true]);
    }),
    { numRuns: 50 },
  );
});
