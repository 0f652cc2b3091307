import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { parseAuthority } from "../../src/net/authority.ts";
import { parsePath, parseRequestTarget } from "../../src/net/request-target.ts";

const asterisk = { sent: "*", canonical: "*", plain: true, ambiguous: false, query: "" };

describe("parseRequestTarget", () => {
  test.each([
    ["CONNECT", "example.com:443", { form: "authority", authority: { host: "example.com", port: 443 } }],
    ["CONNECT", "[2001:DB8::1]:443", { form: "authority", authority: { host: "2001:db8::1", port: 443 } }],
    ["GET", "/a?b", { form: "origin", path: parsePath("/a?b") }],
    ["OPTIONS", "/", { form: "origin", path: parsePath("/") }],
    ["GET", "//evil.example/", { form: "origin", path: parsePath("//evil.example/") }],
    ["OPTIONS", "*", { form: "asterisk", path: asterisk }],
  ])("%s %s", (method, text, target) => {
    expect(parseRequestTarget(method, text)).toEqual(target);
  });

  test.each([
    ["GET http://example.com/a?b", "http", "example.com:80", "/a?b"],
    ["GET HTTP://EXAMPLE.com.:8080/a", "http", "example.com:8080", "/a"],
    ["GET hTTpS://example.com/", "https", "example.com:443", "/"],
    ["GET http://example.com:443/", "http", "example.com:443", "/"],
    ["GET http://example.com", "http", "example.com:80", "/"],
    ["GET http://example.com?q=/x", "http", "example.com:80", "/?q=/x"],
    ["OPTIONS http://example.com/", "http", "example.com:80", "/"],
    ["OPTIONS http://example.com?q", "http", "example.com:80", "/?q"],
    ["GET http://[::1]:8080/", "http", "[::1]:8080", "/"],
    ["GET http://example.com//x", "http", "example.com:80", "//x"],
  ])("%s is absolute", (line, scheme, authority, path) => {
    const [method, text] = line.split(" ") as [string, string];
    expect(parseRequestTarget(method, text)).toEqual({
      form: "absolute",
      scheme,
      authority: parseAuthority(authority),
      path: parsePath(path),
    });
  });

  // RFC 9112 §3.2.4
  test("OPTIONS of a whole server keeps the authority and is sent as an asterisk", () => {
    expect(parseRequestTarget("OPTIONS", "http://example.com:8001")).toEqual({
      form: "absolute",
      scheme: "http",
      authority: { host: "example.com", port: 8001 },
      path: asterisk,
    });
  });

  test.each([
    ["CONNECT", "example.com"],
    ["CONNECT", "example.com:"],
    ["CONNECT", "/"],
    ["CONNECT", "*"],
    ["CONNECT", "http://example.com:443/"],
    ["CONNECT", "example.com:443/"],
    ["CONNECT", "user@example.com:443"],
    ["connect", "example.com:443"],
    ["GET", "example.com:443"],
    ["GET", ""],
    ["GET", "*"],
    ["options", "*"],
    ["OPTIONS", "*?q"],
    ["OPTIONS", "**"],
    ["GET", "a/b"],
    ["GET", "?q"],
    ["GET", "ftp://example.com/"],
    ["GET", "ws://example.com/"],
    ["GET", "httpss://example.com/"],
    ["GET", "http:/example.com/"],
    ["GET", "http:example.com/"],
    ["GET", "http:///path"],
    ["GET", "http://"],
    ["GET", "http://:80/"],
    ["GET", "http://user@example.com/"],
    ["GET", "http://user:secret@example.com/"],
    ["GET", "http://@example.com/"],
    ["GET", "http://example.com:/"],
    ["GET", "http://example.com:0/"],
    ["GET", "http://example.com:99999/"],
    ["GET", "http://127.1/"],
    ["GET", "http://0x7f000001/"],
    ["GET", "http://example.com#/"],
    ["GET", "http://example.com/#f"],
    ["GET", "http://example.com\\@evil.example/"],
    ["GET", "http://evil.example\\.example.com/"],
    ["GET", "http://ex%61mple.com/"],
    ["GET", "http://münchen.de/"],
    ["GET", " http://example.com/"],
    ["GET", "http://exa mple.com/"],
    ["GET", "http://example.com/ x"],
    ["GET", "http://example.com/%zz"],
    ["GET", "http://example.com /"],
    ["GET", "\thttp://example.com/"],
  ])("%s %j is none", (method, text) => {
    expect(parseRequestTarget(method, text)).toBeUndefined();
  });
});

describe("parsePath", () => {
  // received, sent, canonical
  test.each([
    ["/", "/", "/"],
    ["/a/b.c/~d-e_f", "/a/b.c/~d-e_f", "/a/b.c/~d-e_f"],
    ["/a/", "/a/", "/a/"],
    ["/a:b@c!$&'()*+,;=d", "/a:b@c!$&'()*+,;=d", "/a:b@c!$&'()*+,;=d"],
    ['/"<>^`{|}[]', '/"<>^`{|}[]', '/"<>^`{|}[]'],
    ["/.well-known/x", "/.well-known/x", "/.well-known/x"],
    ["/...", "/...", "/..."],
    ["/a/.b/..c", "/a/.b/..c", "/a/.b/..c"],
    // RFC 3986 §5.2.4
    ["/a/b/c/./../../g", "/a/g", "/a/g"],
    ["/.", "/", "/"],
    ["/..", "/", "/"],
    ["/a/.", "/a/", "/a/"],
    ["/a/b/..", "/a/", "/a/"],
    ["/a/b/../", "/a/", "/a/"],
    ["/../../a", "/a", "/a"],
    ["/a/%2e/b", "/a/b", "/a/b"],
    ["/a/%2E%2e/b", "/b", "/b"],
    ["/a/.%2E/b", "/b", "/b"],
    ["/a/%2e./b", "/b", "/b"],
    ["/a/%2e%2e%2e/b", "/a/%2e%2e%2e/b", "/a/.../b"],
    ["/a/%2e%2e", "/", "/"],
    ["/%61%7e%2D", "/%61%7e%2D", "/a~-"],
    ["/%c3%bc%2b", "/%c3%bc%2b", "/%C3%BC%2B"],
    ["/a%20b", "/a%20b", "/a%20b"],
    ["/%E2%82%AC", "/%E2%82%AC", "/%E2%82%AC"],
  ])("%s is plain", (text, sent, canonical) => {
    expect(parsePath(text)).toEqual({ sent, canonical, plain: true, ambiguous: false, query: "" });
  });

  test.each([
    ["//", "//", "/"],
    ["//a", "//a", "/a"],
    ["/a//b///c", "/a//b///c", "/a/b/c"],
    ["/a//../b", "/a/b", "/b"],
    ["/.//a", "//a", "/a"],
    ["/a%2Fb", "/a%2Fb", "/a/b"],
    ["/a%2f%2Fb", "/a%2f%2Fb", "/a/b"],
    ["/a/..%2fb", "/a/..%2fb", "/b"],
    ["/a/%2e%2e%2f..%2fb", "/a/%2e%2e%2f..%2fb", "/b"],
    ["/a%2f..", "/a%2f..", "/"],
    ["/a%2f../b", "/a%2f../b", "/b"],
    ["/a%2fx/../b", "/b", "/a/b"],
    ["/a%2f", "/a%2f", "/a/"],
    ["/a/%2e%2e/%2fb", "/%2fb", "/b"],
  ])("%s is not plain", (text, sent, canonical) => {
    expect(parsePath(text)).toEqual({ sent, canonical, plain: false, ambiguous: false, query: "" });
  });

  test.each([
    "/%252e%252e/a",
    "/a%252Fb",
    "/a%25%32Fb",
    "/%2525",
    "/a%5Cb",
    "/a/..%5c..%5cb",
    "/a/..;/b",
    "/a/..;x=1/b",
    "/a/.;/b",
    "/a/..;",
    "/a/%2e%2e;/b",
    "/a/..%3Bx/b",
    "/a%2f..;/b",
    "/a%0Ab",
    "/a%0d%0aX:y",
    "/a%1fb",
    "/a%7Fb",
    "/%ff",
    "/%c3",
    "/%c3%28",
    "/%C0%AE%C0%AE/a", // overlong dots
    "/%c0%afa", // overlong slash
    "/%ED%A0%80", // surrogate
    "/%F5%80%80%80",
  ])("%s is ambiguous", (text) => {
    expect(parsePath(text)).toMatchObject({ ambiguous: true });
  });

  test.each(["/a%25", "/100%25x", "/a;b", "/a;/..b;c", "/a...;b", "/%3B", "/%C2%80x"])(
    "%s is not ambiguous",
    (text) => {
      expect(parsePath(text)).toMatchObject({ plain: true, ambiguous: false });
    },
  );

  test.each([
    ["/?", "/", "?"],
    ["/a?b=c&d", "/a", "?b=c&d"],
    ["/a??b", "/a", "??b"],
    ["/a?//../%2e%2F%41%00", "/a", "?//../%2e%2F%41%00"],
    ['/a?{"x":[1|2]}^`<>', "/a", '?{"x":[1|2]}^`<>'],
    ["/a%3Fb", "/a%3Fb", ""],
  ])("%s keeps its query", (text, sent, query) => {
    expect(parsePath(text)).toEqual({ sent, canonical: sent, plain: true, ambiguous: false, query });
  });

  test.each([
    "",
    "a",
    "*",
    "?",
    "/a b",
    "/a?b c",
    "/a\tb",
    "/a\0",
    "/a\r\nX: y",
    "/a\x7f",
    "/a\x80",
    "/ü",
    "/a?ü",
    "/a\u{1f600}",
    "/a\\b",
    "/a?b\\c",
    "/a#b",
    "/a?b#c",
    "/%",
    "/%1",
    "/%zz",
    "/%1g",
    "/%g1",
    "/a?%",
    "/a?%zz",
    "/%u002e",
    "/%%32e",
    "/a%00",
    "/a%00/../b",
  ])("%j is none", (text) => {
    expect(parsePath(text)).toBeUndefined();
  });
});

describe("properties", () => {
  const piece = fc.constantFrom(
    ..."/ . .. %2e %2E %2f %2F // a %61 %7e ~ ; ..; %5C %25 %252e %c3%bc %ff é \\ # % ? | \0 \x20".split(" "),
  );
  const path = fc.array(piece, { maxLength: 12 }).map((pieces) => `/${pieces.join("")}`);

  test("what is sent and what is matched are fixed points, without dot segments", () => {
    fc.assert(
      fc.property(path, (text) => {
        const parsed = parsePath(text);
        if (parsed === undefined) return;
        const { sent, canonical, plain } = parsed;
        expect(parsePath(sent)).toMatchObject({ sent, canonical: parsePath(sent)!.canonical, query: "" });
        expect(parsePath(canonical)).toMatchObject({ sent: canonical, canonical, plain: true });
        expect(sent.split("/").filter((segment) => /^(?:\.|%2e){1,2}$/i.test(segment))).toEqual([]);
        expect(canonical).not.toMatch(/\/\/|%2F|\/\.{1,2}(?:\/|$)/i);
        if (plain) expect(parsePath(sent)!.canonical).toBe(canonical);
      }),
      { numRuns: 2000 },
    );
  });

  test("WHATWG URL sends the same path", () => {
    fc.assert(
      fc.property(path, (text) => {
        const parsed = parsePath(text);
        if (parsed === undefined) return;
        const url = new URL(`http://example.com${text}`);
        expect(parsed.sent).toBe(url.pathname);
        expect(parsed.query === "?" ? "" : parsed.query).toBe(url.search);
      }),
      { numRuns: 1000 },
    );
  });

  test("never throws", () => {
    fc.assert(
      fc.property(
        fc.constantFrom("GET", "CONNECT", "OPTIONS", ""),
        fc.string({ unit: "binary" }),
        (method, text) => {
          parseRequestTarget(method, text);
          parsePath(`/${text}`);
        },
      ),
    );
  });
});
