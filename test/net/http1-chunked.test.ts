import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { ChunkedDecoder } from "../../src/net/http1-chunked.ts";

type Outcome =
  | {
      readonly data: string;
      readonly trailers: readonly string[];
      readonly rest: string;
      readonly done: boolean;
    }
  | string;

/** What comes of these octets in these pieces; a fault is its reason. Data before a fault is not compared. */
function decode(pieces: readonly Buffer[]): Outcome {
  const decoder = new ChunkedDecoder("chunk-malformed", 8);
  let data = "";
  let rest = "";
  try {
    for (const piece of pieces) {
      if (decoder.done) {
        rest += piece.toString("latin1");
        continue;
      }
      const used = decoder.push(piece, (part) => (data += part.toString("latin1")));
      rest += piece.toString("latin1", used);
    }
  } catch (error) {
    if (error instanceof ProxyFault) return error.reason;
    throw error;
  }
  return { data, trailers: decoder.trailers, rest, done: decoder.done };
}

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");
const octets = (text: string): Buffer[] => [...bytes(text)].map((octet) => Buffer.from([octet]));

const WHOLE: readonly (readonly [text: string, data: string, trailers?: readonly string[], rest?: string])[] =
  [
    ["0\r\n\r\n", ""],
    ["000\r\n\r\n", ""],
    ["4\r\nabcd\r\n0\r\n\r\n", "abcd"],
    ["A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"],
    ['4;a=b;c="d"\r\nabcd\r\n0;e\r\n\r\n', "abcd"],
    ["2\r\n\r\n\r\n0\r\n\r\n", "\r\n"],
    ["0\r\nA: b\r\nc:d\r\n\r\n", "", ["A", "b", "c", "d"]],
    ["0\r\n\r\nGET / HTTP/1.1", "", [], "GET / HTTP/1.1"],
    ["4\r\nabcd\r\n0\r\nA: b\r\n\r\n0\r\n\r\n", "abcd", ["A", "b"], "0\r\n\r\n"],
  ];

const named = WHOLE.map(([text, data, trailers = [], rest = ""]) => ({ text, data, trailers, rest }));

const BROKEN = [
  "\r\n",
  "g\r\n",
  "+1\r\n",
  "-1\r\n",
  "0x1\r\n",
  " 1\r\n",
  "1 \r\n",
  "1\n",
  "1\r\r\n",
  "1;\n",
  "1;a\rb",
  "1;\x00",
  "1\r\nab\r\n",
  "1\r\na\n",
  "1\r\na\r\r",
  "0000000000001\r\n",
  "fffffffffffff\r\n",
  "0\r\nA\r\n\r\n",
  "0\r\nA : b\r\n\r\n",
  "0\r\n: b\r\n\r\n",
  "0\r\nA: b\n\r\n",
  "0\r\nA: b\r\n c\r\n\r\n",
  "0\r\nA: \x00\r\n\r\n",
  "0\r\n\n",
  "0\r\n\r\r",
  "0\n\n",
];

describe("the chunked coding", () => {
  test.each(named)("$text is read", ({ text, data, trailers, rest }) => {
    const whole = { data, trailers, rest, done: true };
    expect(decode([bytes(text)])).toEqual(whole);
    expect(decode(octets(text))).toEqual(whole);
    for (let at = 1; at < text.length; at++) {
      expect(decode([bytes(text.slice(0, at)), bytes(text.slice(at))])).toEqual(whole);
    }
  });

  test.each(BROKEN)("%j is not", (text) => {
    expect(decode([bytes(text)])).toBe("chunk-malformed");
    expect(decode(octets(text))).toBe("chunk-malformed");
  });

  test.each([
    { name: "extensions", text: `1;${"a".repeat(17_000)}`, reason: "chunk-malformed" },
    {
      name: "extensions over many chunks",
      text: "1;abcdefgh\r\na\r\n".repeat(2_000),
      reason: "chunk-malformed",
    },
    { name: "trailers", text: `0\r\nA: ${"b".repeat(17_000)}`, reason: "chunk-malformed" },
    { name: "trailer fields", text: `0\r\n${"A: b\r\n".repeat(9)}\r\n`, reason: "head-too-large" },
  ])("$name have a bound", ({ text, reason }) => {
    expect(decode([bytes(text)])).toBe(reason);
    expect(decode(octets(text))).toBe(reason);
  });

  test("any split of any octets comes to the same", () => {
    const syllables = fc.constantFrom(
      ..."0 1 4 a F \r \n \r\n 0\r\n 4\r\nabcd\r\n 0\r\n\r\n ; ;x=y A: b\r\n abcd : \0 \t".split(" "),
      " ",
    );
    fc.assert(
      fc.property(
        fc.array(syllables, { maxLength: 24 }).map((parts) => bytes(parts.join(""))),
        fc.array(fc.nat(120), { maxLength: 6 }),
        (whole, cuts) => {
          const points = [
            0,
            ...cuts.filter((cut) => cut < whole.length).toSorted((a, b) => a - b),
            whole.length,
          ];
          const pieces = points.slice(1).map((end, at) => whole.subarray(points[at], end));
          expect(decode(pieces)).toEqual(decode([whole]));
        },
      ),
      { numRuns: 500 },
    );
  });

  test("what is encoded is decoded", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 }), (parts) => {
        const text =
          parts
            .map((part) => `${part.length.toString(16)}\r\n${Buffer.from(part).toString("latin1")}\r\n`)
            .join("") + "0\r\n\r\n";
        const data = Buffer.concat(parts).toString("latin1");
        expect(decode([bytes(text)])).toEqual({ data, trailers: [], rest: "", done: true });
      }),
      { numRuns: 200 },
    );
  });
});
