import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { isAddressLiteral, parseHost, parseHostUnicode } from "../../src/net/host.ts";

const label63 = "a".repeat(63);
const name253 = `${label63}.${label63}.${label63}.${"a".repeat(61)}`;

const LDH = [..."abcdefghijklmnopqrstuvwxyz0123456789-_"];
const label = fc
  .string({ unit: fc.constantFrom(...LDH), minLength: 1, maxLength: 12 })
  .filter((text) => !text.startsWith("-") && !text.endsWith("-") && !text.includes("xn--"));
const name = fc
  .tuple(
    fc.array(label, { maxLength: 4 }),
    label.filter((text) => !/^\d+$|^0x/.test(text)),
  )
  .map(([labels, last]) => [...labels, last].join("."));

describe("parseHost", () => {
  test.each([
    ["example.com", "example.com"],
    ["Example.COM", "example.com"],
    ["example.com.", "example.com"],
    ["localhost", "localhost"],
    ["a", "a"],
    ["a.b-c.d", "a.b-c.d"],
    ["_dmarc.example.com", "_dmarc.example.com"],
    ["r3---sn-x.example.com", "r3---sn-x.example.com"],
    ["1.example", "1.example"],
    ["1.2.3.example", "1.2.3.example"],
    ["0x7f.example", "0x7f.example"],
    ["example.1a", "example.1a"],
    ["example.00x", "example.00x"],
    ["xn--mnchen-3ya.de", "xn--mnchen-3ya.de"],
    ["XN--Mnchen-3YA.DE", "xn--mnchen-3ya.de"],
    ["xn--strae-oqa.de", "xn--strae-oqa.de"],
    ["_x.xn--mnchen-3ya.de.", "_x.xn--mnchen-3ya.de"],
    ["a-xn--b.example", "a-xn--b.example"],
    ["192.0.2.1", "192.0.2.1"],
    ["[2001:DB8:0:0::1]", "2001:db8::1"],
    ["[::ffff:1.2.3.4]", "::ffff:1.2.3.4"],
    [`${label63}.com`, `${label63}.com`],
    [name253, name253],
    [`${name253}.`, name253],
  ])("%s is %s", (text, host) => {
    expect(parseHost(text)).toBe(host);
  });

  test.each([
    "",
    ".",
    "..",
    ".example.com",
    "example..com",
    "example.com..",
    "-example.com",
    "example-.com",
    "example.-com",
    "example.com-",
    "example.com-.",
    `${label63}a.com`,
    `a.${label63}a`,
    `${name253}a`,
    `a${name253}.`,
    // Spellings of 127.0.0.1 that some parser or resolver takes
    "127.1",
    "127.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0X7F000001",
    "127.0.0.0x1",
    "017700000001",
    "0177.0.0.1",
    "2130706433",
    "127.0.0.1.",
    "127.0.0.01",
    "127.0.0.256",
    "1.2.3.4.5",
    "example.1",
    "example.0x",
    "example.0xa",
    "example.0xg",
    "[127.0.0.1]",
    "[::1",
    "::1]",
    "::1",
    "[]",
    "[::1]x",
    "[::1].",
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "[v1.fe80::a]",
    // A-labels that do not round-trip: bad punycode, hidden ASCII, upper case inside, empty
    "xn--a",
    "xn--zzzzzz.com",
    "xn--abc-.de",
    "xn--.de",
    "xn--bcher-kva.xn--a",
    "xn--a-ecp.ru",
    "example.xn--0",
    "münchen.de",
    "exam\u00adple.com",
    "ｅxample.com",
    "example。com",
    "\u212a.example", // Kelvin sign, whose lower case is k
    "exa mple.com",
    " example.com",
    "example.com ",
    "example.com\t",
    "example.com\n",
    "example.com\0",
    "example.com\x7f",
    "a\0.example.com",
    "user@example.com",
    "example.com:80",
    "example.com/",
    "example%2ecom",
    "*.example.com",
    "a,b",
    "a`b",
    "a{b",
    "a[b",
    "a@b",
  ])("%j is none", (text) => {
    expect(parseHost(text)).toBeUndefined();
  });

  test("case and a trailing dot make no difference, and the canonical form stays", () => {
    fc.assert(
      fc.property(name, fc.infiniteStream(fc.boolean()), fc.boolean(), (text, coins, dot) => {
        const cased = [...text].map((c) => (coins.next().value ? c.toUpperCase() : c)).join("");
        expect(parseHost(text)).toBe(text);
        expect(parseHost(dot ? `${cased}.` : cased)).toBe(text);
        expect(parseHostUnicode(cased)).toBe(text);
      }),
    );
  });

  test("whatever is accepted is canonical, and WHATWG URL reads it as the same host", () => {
    const odd = fc.oneof(
      fc.string({ unit: "binary", maxLength: 20 }),
      fc.string({ unit: fc.constantFrom(...LDH, ".", "X", "x", "0", "[", "]", ":", "%"), maxLength: 20 }),
      fc
        .string({ unit: fc.constantFrom(..."0123456789abcdef-"), maxLength: 10 })
        .map((text) => `xn--${text}`),
    );
    fc.assert(
      fc.property(odd, (text) => {
        const host = parseHost(text);
        if (host === undefined) return;
        expect(parseHost(host.includes(":") ? `[${host}]` : host)).toBe(host);
        if (!host.includes(":")) expect(new URL(`http://${host}/`).hostname).toBe(host);
      }),
      { numRuns: 2000 },
    );
  });
});

describe("parseHostUnicode", () => {
  test.each([
    ["Example.com.", "example.com"],
    ["münchen.de", "xn--mnchen-3ya.de"],
    ["MÜNCHEN.de.", "xn--mnchen-3ya.de"],
    ["mu\u0308nchen.de", "xn--mnchen-3ya.de"],
    ["straße.de", "xn--strae-oqa.de"],
    ["münchen。de", "xn--mnchen-3ya.de"],
    ["_x.münchen.de", "_x.xn--mnchen-3ya.de"],
    ["xn--mnchen-3ya.bücher.de", "xn--mnchen-3ya.xn--bcher-kva.de"],
    ["ｅｘａｍｐｌｅ.com", "example.com"],
    ["192.0.2.1", "192.0.2.1"],
    ["2001:DB8::1", "2001:db8::1"],
    ["[2001:db8::1]", "2001:db8::1"],
  ])("%s is %s", (text, host) => {
    expect(parseHostUnicode(text)).toBe(host);
  });

  test.each([
    "",
    "１２７.1",
    "１２７.０.０.１",
    "０x7f.1",
    "-ü-.de.-x",
    "ü..de",
    "ü_.-x",
    "a／b.de",
    "a％2eb.de",
    "ü%2e.de",
    "ü.de/path",
    "ü.de:80",
    "ü.de\t",
    "\tü.de",
    "ü@x.de",
    "*.ü.de",
    "[ü]",
    "ü\0.de",
    "\u200d.de",
    "ü\ud800.de",
    `${"ü".repeat(63)}.de`,
    "fe80::1%eth0",
    "1:2",
    "example.com:80",
  ])("%j is none", (text) => {
    expect(parseHostUnicode(text)).toBeUndefined();
  });

  test("a U-label's canonical form is accepted on the wire and stays", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 10 }), (text) => {
        const host = parseHostUnicode(`${text}.example`);
        if (host === undefined) return;
        expect(parseHost(host)).toBe(host);
        expect(parseHostUnicode(host)).toBe(host);
      }),
      { numRuns: 500 },
    );
  });
});

describe("isAddressLiteral", () => {
  test.each([
    ["192.0.2.1", true],
    ["[::1]", true],
    ["[::ffff:1.2.3.4]", true],
    ["example.com", false],
    ["1.2.3.example", false],
    ["1.2.3.a4", false],
    ["a1", false],
  ])("%s: %s", (text, literal) => {
    expect(isAddressLiteral(parseHost(text)!)).toBe(literal);
  });
});
