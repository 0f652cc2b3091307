// HTTP/2 field sections: each reads as one HTTP/1 head would, or not at all. The malformed ones, octet by octet, are in
// test/conformance/rfc9113-requests.test.ts.

import { describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { checkTrailers, parseHttp2Request } from "../../src/net/http2-request.ts";

const LIMITS = { headOctets: 1_000, headFields: 20, targetOctets: 20 };
const BASE = [":method", "GET", ":scheme", "https", ":authority", "a.test", ":path", "/p?q"];
const parse = (fields: readonly string[], options: { ended?: boolean; extendedConnect?: boolean } = {}) =>
  parseHttp2Request(fields, { limits: LIMITS, ended: true, extendedConnect: false, ...options });
const reasonOf = (act: () => unknown): string => {
  try {
    act();
    return "";
  } catch (error) {
    return error instanceof ProxyFault ? error.reason : String(error);
  }
};

test("a request", () => {
  expect(parse([...BASE, "accept", "*/*"])).toEqual({
    head: { method: "GET", target: "https://a.test/p?q", version: "2", headers: ["accept", "*/*"] },
    length: { kind: "none" },
    host: "a.test",
    keepAlive: true,
    expectContinue: false,
    upgrade: undefined,
    websocket: false,
  });
});

test("the order of pseudo-fields is free, :authority may be Host, an asterisk has no path", () => {
  const { head, host } = parse([
    ":path",
    "*",
    ":method",
    "OPTIONS",
    ":scheme",
    "https",
    "host",
    "A.test:443",
  ]);
  expect([head.target, host]).toEqual(["https://A.test:443", "A.test:443"]);
  expect(head.headers).toEqual(["host", "A.test:443"]);
});

test("another scheme is read, to be compared; a tab within a value is one", () => {
  const { head } = parse([...BASE.slice(0, 2), ":scheme", "http", ...BASE.slice(4), "a", "1\t2", "b", ""]);
  expect([head.target, head.headers]).toEqual(["http://a.test/p?q", ["a", "1\t2", "b", ""]]);
});

test("a Host beside :authority is what is compared", () => {
  const { head, host } = parse([...BASE, "host", "b.test"]);
  expect([head.target, host]).toEqual(["https://a.test/p?q", "b.test"]);
});

test("crumbs of Cookie become one, where the first stood", () => {
  const { head } = parse([...BASE, "cookie", "a=1", "x", "y", "cookie", "b=2", "cookie", "c=3"]);
  expect(head.headers).toEqual(["cookie", "a=1; b=2; c=3", "x", "y"]);
});

describe("length", () => {
  test.each([
    [[], true, { kind: "none" }],
    [[], false, { kind: "chunked" }],
    [["content-length", "0"], true, { kind: "none" }],
    [["content-length", "0"], false, { kind: "none" }],
    [["content-length", "7"], false, { kind: "known", octets: 7 }],
  ])("%j, ended: %s", (fields, ended, length) => {
    expect(parse([...BASE, ...fields], { ended }).length).toEqual(length);
  });

  test.each([
    ["7", true],
    ["-1", false],
    ["+1", false],
    ["0x1", false],
    ["", false],
    ["1,1", false],
    ["9".repeat(16), false],
  ])("%j, ended: %s is refused", (length, ended) => {
    expect(reasonOf(() => parse([...BASE, "content-length", length], { ended }))).toBe("length-ambiguous");
  });
});

test("expectations", () => {
  expect(parse([...BASE, "expect", "100-Continue"], { ended: false }).expectContinue).toBe(true);
  expect(parse([...BASE, "expect", "100-continue"]).expectContinue).toBe(false);
  expect(reasonOf(() => parse([...BASE, "expect", "100-continue", "expect", "100-continue"]))).toBe(
    "expectation-unsupported",
  );
});

describe("CONNECT", () => {
  const CONNECT = [":method", "CONNECT"];
  test("is read, to be refused", () => {
    const { head, length } = parse([...CONNECT, ":authority", "b.test:443"], { ended: false });
    expect([head.method, head.target, length]).toEqual(["CONNECT", "b.test:443", { kind: "none" }]);
  });

  test.each([
    [[...CONNECT, ":authority", "b:1", ":path", "/"], "request-malformed"],
    [[...CONNECT, ":authority", "b:1", ":scheme", "https"], "request-malformed"],
    [[...CONNECT, "host", "b:1"], "request-malformed"],
    [[...CONNECT, ":authority", "b:1", "content-length", "1"], "length-ambiguous"],
  ])("%j", (fields, reason) => {
    expect(reasonOf(() => parse(fields, { ended: false }))).toBe(reason);
  });

  const extended = (protocol: string): string[] => [...CONNECT, ":protocol", protocol, ...BASE.slice(2)];
  test("extended, for a WebSocket, is an upgrade", () => {
    const request = parse(extended("websocket"), { ended: false, extendedConnect: true });
    expect(request).toMatchObject({
      head: { method: "GET", target: "https://a.test/p?q" },
      length: { kind: "none" },
      upgrade: "websocket",
      websocket: true,
    });
  });

  test("extended, for anything else, stays CONNECT", () => {
    const request = parse(extended("connect-udp"), { ended: false, extendedConnect: true });
    expect(request).toMatchObject({ head: { method: "CONNECT" }, upgrade: undefined, websocket: false });
  });

  test("extended, where it was not offered, or with another method", () => {
    expect(reasonOf(() => parse(extended("websocket")))).toBe("request-malformed");
    const get = [...BASE, ":protocol", "websocket"];
    expect(reasonOf(() => parse(get, { extendedConnect: true }))).toBe("request-malformed");
  });
});

test.each([
  ["a method that is no token", [":method", "G T", ...BASE.slice(2)], "request-malformed"],
  ["an empty method", [":method", "", ...BASE.slice(2)], "request-malformed"],
  ["a method without end", [":method", "A".repeat(41), ...BASE.slice(2)], "request-malformed"],
  ["a target without end", [...BASE.slice(0, 6), ":path", `/${"a".repeat(20)}`], "head-too-large"],
  ["no scheme", [...BASE.slice(0, 2), ...BASE.slice(4)], "request-malformed"],
  ["another scheme", [...BASE.slice(0, 2), ":scheme", "ftp", ...BASE.slice(4)], "target-malformed"],
  ["a host that is none", [...BASE.slice(0, 4), ":authority", "a/b", ":path", "/"], "authority-malformed"],
  ["no host at all", [...BASE.slice(0, 4), ":path", "/"], "host-ambiguous"],
  ["two of them", [...BASE, "host", "a.test", "host", "a.test"], "host-ambiguous"],
  ["a path without its slash", [...BASE.slice(0, 6), ":path", "p"], "target-malformed"],
  ["two paths", [...BASE, ":path", "/"], "request-malformed"],
  ["an unknown pseudo-field", [...BASE, ":x", "/"], "request-malformed"],
  ["an empty name", [...BASE, "", "1"], "request-malformed"],
  ["a name in upper case", [...BASE, "A", "1"], "request-malformed"],
  ["LF in a value", [...BASE, "a", "1\n2"], "request-malformed"],
  ["DEL in a value", [...BASE, "a", "1\x7f"], "request-malformed"],
  ["a blank before a value", [...BASE, "a", " 1"], "request-malformed"],
  ["TE of more than trailers", [...BASE, "te", "gzip"], "request-malformed"],
  ["controls in a path", [...BASE.slice(0, 6), ":path", "/\x7f"], "target-malformed"],
])("%s", (_name, fields, reason) => {
  expect(reasonOf(() => parse(fields))).toBe(reason);
});

test.each([
  [["x", "1"], ""],
  [[":status", "1"], "request-malformed"],
  [["host", "1"], "request-malformed"],
  [["content-length", "1"], "request-malformed"],
  [["te", "trailers"], ""],
  [["connection", "x"], "request-malformed"],
])("trailers %j", (fields, reason) => {
  expect(reasonOf(() => checkTrailers(fields))).toBe(reason);
});
