// HPACK: the RFC's own examples, what is no HPACK, bounds that count what it unfolds to, and that what we write is read back.

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeFields, HpackDecoder } from "../../src/net/hpack.ts";
import { STATIC } from "../../src/net/hpack-table.ts";

const WIDE = { octets: 100_000, fields: 1_000 };
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const decode = (text: string, decoder = new HpackDecoder()) => decoder.decode(hex(text), WIDE)?.fields;

describe("RFC 7541, appendix C", () => {
  test("C.2: one field each way", () => {
    expect(decode("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572")).toEqual([
      "custom-key",
      "custom-header",
    ]);
    expect(decode("040c 2f73 616d 706c 652f 7061 7468")).toEqual([":path", "/sample/path"]);
    expect(decode("1008 7061 7373 776f 7264 0673 6563 7265 74")).toEqual(["password", "secret"]);
    expect(decode("82")).toEqual([":method", "GET"]);
  });

  const FIRST = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "www.example.com"];
  const LAST = [
    ":method",
    "GET",
    ":scheme",
    "https",
    ":path",
    "/index.html",
    ":authority",
    "www.example.com",
    "custom-key",
    "custom-value",
  ];

  test.each([
    [
      "C.3: plain",
      "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
      "8286 84be 5808 6e6f 2d63 6163 6865",
      "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ],
    [
      "C.4: Huffman",
      "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
      "8286 84be 5886 a8eb 1064 9cbf",
      "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ],
  ])("%s, three sections over one table", (_name, one, two, three) => {
    const decoder = new HpackDecoder();
    expect(decode(one, decoder)).toEqual(FIRST);
    expect(decode(two, decoder)).toEqual([...FIRST, "cache-control", "no-cache"]);
    expect(decode(three, decoder)).toEqual(LAST);
  });
});

describe("the table", () => {
  test("is emptied by a size of nothing, and evicts the oldest", () => {
    const decoder = new HpackDecoder();
    expect(decode("4001 61 01 62", decoder)).toEqual(["a", "b"]);
    expect(decode("be", decoder)).toEqual(["a", "b"]);
    expect(decode("20 be", decoder)).toBeUndefined();
    const other = new HpackDecoder();
    // Room for one entry of 34 octets.
    expect(decode("3f03 4001 61 01 62 4001 63 01 64 be", other)).toEqual(["a", "b", "c", "d", "c", "d"]);
    expect(decode("bf", other)).toBeUndefined();
  });

  test("an entry larger than all of it leaves it empty", () => {
    const decoder = new HpackDecoder();
    expect(decode("3f03 4001 61 01 62", decoder)).toEqual(["a", "b"]);
    expect(decode(`4001 63 14 ${"64".repeat(20)}`, decoder)).toEqual(["c", "d".repeat(20)]);
    expect(decode("be", decoder)).toBeUndefined();
  });
});

test.each([
  ["index 0", "80"],
  ["an index past the static table", "be"],
  ["a name's index past it", "7f00 00"],
  ["an index of four octets", "ffff ffff 7f"],
  ["an integer without end", "ff ff ff ff ff ff ff"],
  ["a table size over what was agreed", "3fe2 1f"],
  ["a table size behind a field", "82 20"],
  ["a name cut short", "0005 61"],
  ["a value cut short", "0001 61 05 61"],
  ["no value", "0001 61"],
  ["an integer cut short", "ff"],
  ["Huffman: padding of eight bits", "0001 61 82 1f ff"],
  ["Huffman: padding of zeros", "0001 61 81 18"],
  ["Huffman: the end of string", "0001 61 84 ff ff ff ff"],
])("no HPACK: %s", (_name, text) => {
  expect(decode(text)).toBeUndefined();
});

describe("bounds", () => {
  test("octets and fields, each at its edge; what is over is dropped, and the table kept up", () => {
    const decoder = new HpackDecoder();
    const section = hex("4001 61 01 62 0001 63 01 64");
    expect(decoder.decode(section, { octets: 12, fields: 2 })).toEqual({
      fields: ["a", "b", "c", "d"],
      over: false,
    });
    expect(decoder.decode(section, { octets: 11, fields: 2 })).toEqual({ fields: ["a", "b"], over: true });
    expect(decoder.decode(section, { octets: 12, fields: 1 })).toEqual({ fields: ["a", "b"], over: true });
    expect(decoder.decode(hex("be"), WIDE)?.fields).toEqual(["a", "b"]);
  });

  test("long Huffman text", () => {
    // 'a' is 00011: 8,000 of them are 5,000 octets.
    const bits = "00011".repeat(16_000);
    const octets = Buffer.from(bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
    // 10,000 = 127 + 9,873
    const section = Buffer.concat([hex("0001 61 ff 91 4d"), octets]);
    expect(new HpackDecoder().decode(section, WIDE)?.fields).toEqual(["a", "a".repeat(16_000)]);
  });
});

describe("what we write", () => {
  test("known statuses and names are short; the first section gives the table up", () => {
    expect(encodeFields([":status", "200"], true).toString("hex")).toBe("2088");
    expect(encodeFields([":status", "418"]).toString("hex")).toBe("0803343138");
    expect(encodeFields(["date", "x"]).toString("hex")).toBe("0f120178");
    expect(encodeFields(["x", ""]).toString("hex")).toBe("00017800");
  });

  test("is read back, whatever it is", () => {
    const name = fc.oneof(
      fc.constantFrom(...STATIC.map(([known]) => known)),
      fc.stringMatching(/^[a-z0-9-]{1,200}$/),
    );
    const octet = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
    const value = fc.array(octet, { maxLength: 400 }).map((octets) => octets.join(""));
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 20 }), (pairs) => {
        const fields = pairs.flat();
        expect(new HpackDecoder().decode(encodeFields(fields, true), WIDE)?.fields).toEqual(fields);
      }),
    );
  });

  test("long values", () => {
    const fields = ["a", "x".repeat(70_000)];
    expect(new HpackDecoder().decode(encodeFields(fields), WIDE)?.fields).toEqual(fields);
  });
});

test("any octets: never more than an answer", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (sections) => {
      const decoder = new HpackDecoder();
      for (const section of sections) decoder.decode(Buffer.from(section), { octets: 500, fields: 10 });
    }),
    { numRuns: 2_000 },
  );
});
