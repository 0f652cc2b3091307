// Frames cut out of a stream of octets, however it is split.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Frame,
  FrameReader,
  numbers,
  settings,
  smallFrame,
  TYPE,
  unpadded,
} from "../../src/net/http2-frames.ts";

function readAll(reader: FrameReader): (Frame | "too-large")[] {
  const found: (Frame | "too-large")[] = [];
  for (let next = reader.next(); next !== undefined; next = reader.next()) {
    found.push(next);
    if (next === "too-large") break;
  }
  return found;
}

test("the same frames, however the octets are split", () => {
  const frame = fc.record({
    type: fc.nat(255),
    flags: fc.nat(255),
    stream: fc.nat(0x7fffffff),
    payload: fc.uint8Array({ maxLength: 600 }).map((octets) => Buffer.from(octets)),
  });
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1 }),
      (frames, sizes) => {
        const octets = Buffer.concat(frames.map((one) => smallFrame(one, one.payload)));
        const reader = new FrameReader();
        const found: (Frame | "too-large")[] = [];
        for (let at = 0, turn = 0; at < octets.length; turn++) {
          const size = sizes[turn % sizes.length] ?? 1;
          reader.push(octets.subarray(at, at + size));
          at += size;
          found.push(...readAll(reader));
        }
        expect(found).toEqual(frames);
        expect(reader.partial).toBe(false);
      },
    ),
  );
});

test("no frame is larger than 16 KiB, and the octets behind the lead are the first frame's", () => {
  const reader = new FrameReader();
  reader.push(Buffer.from("lead"));
  expect(reader.lead(5)).toBeUndefined();
  expect(reader.partial).toBe(true);
  reader.push(Buffer.concat([Buffer.from("!"), smallFrame({ type: TYPE.data }, Buffer.alloc(16_384))]));
  expect(reader.lead(5)?.toString()).toBe("lead!");
  expect(readAll(reader)).toHaveLength(1);
  reader.push(smallFrame({ type: TYPE.data }, Buffer.alloc(16_385)));
  expect(readAll(reader)).toEqual(["too-large"]);
});

test.each([
  [0, "abc", "abc"],
  [8, "\x01abc\0", "abc"],
  [8, "\x00abc", "abc"],
  [8, "\x03abc", ""],
  [8, "\x04abc", undefined],
  [8, "", undefined],
])("padding: flags %i, %j", (flags, payload, expected) => {
  const octets = unpadded({ type: TYPE.data, flags, stream: 1, payload: Buffer.from(payload, "latin1") });
  expect(octets?.toString("latin1")).toBe(expected);
});

test.each([
  [0x20, "12345abc", "abc"],
  [0x20, "12345", ""],
  [0x20, "1234", undefined],
  [0x28, "\x0212345ab\0\0", "ab"],
  [0x28, "\x0312345ab", undefined],
])("priority: flags %i, %j", (flags, payload, expected) => {
  const octets = unpadded({ type: TYPE.headers, flags, stream: 1, payload: Buffer.from(payload, "latin1") });
  expect(octets?.toString("latin1")).toBe(expected);
});

test("numbers and settings as they stand on the wire", () => {
  expect(numbers(1, 0xffffffff).toString("hex")).toBe("00000001ffffffff");
  expect(settings([3, 100], [8, 1]).toString("hex")).toBe("000300000064000800000001");
});
