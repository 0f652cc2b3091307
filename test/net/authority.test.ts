import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { formatAuthority, parseAuthority, sameAuthority } from "../../src/net/authority.ts";

describe("parseAuthority", () => {
  test.each([
    ["example.com:443", undefined, "example.com", 443],
    ["EXAMPLE.com.:443", undefined, "example.com", 443],
    ["example.com", 80, "example.com", 80],
    ["example.com:8080", 80, "example.com", 8080],
    ["example.com:1", undefined, "example.com", 1],
    ["example.com:65535", undefined, "example.com", 65_535],
    ["192.0.2.1:80", undefined, "192.0.2.1", 80],
    ["[2001:DB8::1]:443", undefined, "2001:db8::1", 443],
    ["[2001:db8::1]", 443, "2001:db8::1", 443],
  ])("%s with default %s", (text, defaultPort, host, port) => {
    expect(parseAuthority(text, defaultPort)).toEqual({ host, port });
  });

  test.each([
    ["example.com", undefined],
    ["[::1]", undefined],
    ["", 80],
    [":80", 80],
    ["example.com:", 80],
    ["example.com:0", 80],
    ["example.com:080", 80],
    ["example.com:65536", 80],
    ["example.com:100000", 80],
    ["example.com:+80", 80],
    ["example.com:-80", 80],
    ["example.com:8e1", 80],
    ["example.com:0x50", 80],
    ["example.com:80 ", 80],
    ["example.com: 80", 80],
    ["example.com :80", 80],
    ["example.com:٨٠", 80],
    ["example.com:80:80", 80],
    ["example.com:80/", 80],
    ["user@example.com:80", 80],
    ["user:80@example.com:80", 80],
    ["@example.com", 80],
    ["example.com@evil.example", 80],
    ["example.com,evil.example", 80],
    ["example.com#", 80],
    ["127.1:80", 80],
    ["::1", 80],
    ["::1:80", 80],
    ["2001:db8::1:80", 80],
    ["[::1", 80],
    ["[1:80", 80],
    ["[::1]80", 80],
    ["[::1]x:80", 80],
    ["[::1]:", 80],
    ["[[::1]]:80", 80],
    ["[fe80::1%25eth0]:80", 80],
    ["[127.0.0.1]:80", 80],
    ["\0example.com:80", 80],
    ["example.com:80\r\n", 80],
  ])("%j with default %s is none", (text, defaultPort) => {
    expect(parseAuthority(text, defaultPort)).toBeUndefined();
  });
});

test("formatAuthority is parseAuthority's inverse, with and without default", () => {
  const host = fc.constantFrom("example.com", "192.0.2.1", "[2001:db8::1]", "[::ffff:1.2.3.4]");
  fc.assert(
    fc.property(
      host,
      fc.integer({ min: 1, max: 65_535 }),
      fc.constantFrom(80, 443),
      (name, port, standard) => {
        const authority = parseAuthority(`${name}:${port}`)!;
        expect(formatAuthority(authority)).toBe(`${name}:${port}`);
        expect(parseAuthority(formatAuthority(authority, standard), standard)).toEqual(authority);
        expect(formatAuthority(authority, port)).toBe(name);
      },
    ),
  );
});

test("sameAuthority compares host and port", () => {
  const a = parseAuthority("example.com:443")!;
  expect(sameAuthority(a, parseAuthority("EXAMPLE.com.", 443)!)).toBe(true);
  expect(sameAuthority(a, parseAuthority("example.com:444")!)).toBe(false);
  expect(sameAuthority(a, parseAuthority("example.org:443")!)).toBe(false);
});
