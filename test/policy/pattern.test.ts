import { expect, test } from "vitest";

import { parsePattern } from "../../src/policy/pattern.ts";

test.each([
  ["example.com", { kind: "name", host: "example.com" }],
  ["localhost", { kind: "name", host: "localhost" }],
  ["_srv.example.com", { kind: "name", host: "_srv.example.com" }],
  ["xn--bcher-kva.example", { kind: "name", host: "xn--bcher-kva.example" }],
  ["bücher.example", { kind: "name", host: "xn--bcher-kva.example" }],
  ["*.example.com", { kind: "below", parent: "example.com", self: false }],
  ["**.example.com", { kind: "below", parent: "example.com", self: true }],
  ["**.bücher.example", { kind: "below", parent: "xn--bcher-kva.example", self: true }],
  ["*.com", { kind: "below", parent: "com", self: false }],
  ["api-*.example.com", { kind: "label", parent: "example.com", prefix: "api-", suffix: "" }],
  ["*-api.example.com", { kind: "label", parent: "example.com", prefix: "", suffix: "-api" }],
  ["a*z.bücher.example", { kind: "label", parent: "xn--bcher-kva.example", prefix: "a", suffix: "z" }],
  ["192.0.2.1", { kind: "network", network: { bytes: Uint8Array.of(192, 0, 2, 1), prefix: 32 } }],
  ["10.0.0.0/8", { kind: "network", network: { bytes: Uint8Array.of(10, 0, 0, 0), prefix: 8 } }],
  [
    "2001:db8::/32",
    {
      kind: "network",
      network: { bytes: Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), prefix: 32 },
    },
  ],
])("%s is read", (text, pattern) => {
  expect(parsePattern(text)).toEqual(pattern);
});

test.each([
  ["Example.COM.", "`Example.COM.` is not in its canonical spelling; write `example.com`"],
  ["example.com.", "write `example.com`"],
  ["example.com:443", "write `example.com`"],
  ["https://user@Example.com:8443/path?x#y", "write `example.com`"],
  [" example.com", "write `example.com`"],
  ["example.com/path", "write `example.com`"],
  [".example.com", "write `**.example.com`"],
  ["*.Example.com", "write `*.example.com`"],
  ["**.example.com.", "write `**.example.com`"],
  ["api-*.Example.com", "write `api-*.example.com`"],
  ["Bücher.example", "write `xn--bcher-kva.example`"],
  // IDEOGRAPHIC FULL STOP and full-width letters are mapped by IDNA: another spelling of an ASCII name.
  ["example。com", "write `example.com`"],
  ["ｅxample.com", "write `example.com`"],
  ["2001:DB8::1", "write `2001:db8::1`"],
  ["[::1]", "write `::1`"],
  ["2001:db8:0::/32", "write `2001:db8::/32`"],
  ["127.0.0.1:80", "write `127.0.0.1`"],
])("%j is refused with the right spelling", (text, message) => {
  expect(parsePattern(text)).toEqual({ kind: "problem", message: expect.stringContaining(message) });
});

test.each([
  ["", "is not a host name"],
  ["exa mple.com", "is not a host name"],
  ["-.example.com", "is not a host name"],
  ["127.1", "is not a host name"],
  ["0x7f.0.0.1", "is not a host name"],
  ["2130706433", "is not a host name"],
  ["10.0.0.0/8/8", "write `10.0.0.0`"],
  ["10.0.0.1/8", "is not a network"],
  ["10.0.0.0/33", "is not a network"],
  ["10.0.0.0/08", "is not a network"],
  ["*", "preset `all`"],
  ["**", "preset `all`"],
  ["*.1.2.3.4", "no wildcard reaches an address"],
  ["**.[::1]", "no wildcard reaches an address"],
  ["a-*.10.0.0.1", "no wildcard reaches an address"],
  ["***.example.com", "one `*` may stand"],
  ["api-*", "one `*` may stand"],
  ["a*b*.example.com", "one `*` may stand"],
  ["www.*.com", "one `*` may stand"],
  ["a*.*.com", "one `*` may stand"],
  ["*.*.com", "is not a host name"],
  ["API-*.example.com", "in lower case"],
  ["ü*.example.com", "in lower case"],
  ["-*.example.com", "a label holds only"],
  ["*-.example.com", "a label holds only"],
  ["a*.", "is not a host name"],
  ["xn--*.example.com", "inside an encoded"],
])("%j is refused", (text, message) => {
  expect(parsePattern(text)).toEqual({ kind: "problem", message: expect.stringContaining(message) });
});
