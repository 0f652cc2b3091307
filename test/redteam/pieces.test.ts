// A sandbox or an origin that sends its octets one by one: what is held of them stays near their size.

import * as fc from "fast-check";
import { expect, test } from "vitest";
import { ChunkedDecoder } from "../../src/net/http1-chunked.ts";
import { Pieces } from "../../src/net/pieces.ts";

test("chunks of one octet are handed on together, not each as a piece", () => {
  const pieces: Buffer[] = [];
  const decoder = new ChunkedDecoder("chunk-malformed", 10);
  decoder.push(Buffer.from("1\r\nx\r\n".repeat(10_000)), (data) => pieces.push(data));
  expect(pieces.map((piece) => piece.length)).toEqual([10_000]);
});

test("large and small chunks keep their order", () => {
  const data = (pieces: readonly number[]): Buffer[] => pieces.map((n, at) => Buffer.alloc(n, at));
  const chunked = (pieces: readonly Buffer[]): Buffer =>
    Buffer.concat(
      pieces.flatMap((piece) => [
        Buffer.from(`${piece.length.toString(16)}\r\n`),
        piece,
        Buffer.from("\r\n"),
      ]),
    );
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3000 }))),
      (sizes) => {
        const got: Buffer[] = [];
        new ChunkedDecoder("chunk-malformed", 10).push(chunked(data(sizes)), (piece) => got.push(piece));
        expect(Buffer.concat(got).equals(Buffer.concat(data(sizes)))).toBe(true);
      },
    ),
    { numRuns: 50 },
  );
});

test("what was malformed behind good chunks does not lose them", () => {
  const pieces: Buffer[] = [];
  const decoder = new ChunkedDecoder("chunk-malformed", 10);
  expect(() => decoder.push(Buffer.from("1\r\nx\r\nzz"), (data) => pieces.push(data))).toThrow("malformed");
  expect(Buffer.concat(pieces).toString()).toBe("x");
});

test("held octets come back whole and in order", () => {
  const held = new Pieces();
  for (let at = 0; at < 60_000; at++) held.push(Buffer.alloc(1, at));
  expect(held.octets).toBe(60_000);
  expect(held.take().equals(Buffer.from(Array.from({ length: 60_000 }, (_, at) => at & 0xff)))).toBe(true);
  expect(held.octets).toBe(0);
});
