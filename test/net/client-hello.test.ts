import type { ConnectionOptions } from "node:tls";

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { helloRandom, readClientHello } from "../../src/net/client-hello.ts";
import {
  GIT,
  OPENSSL,
  alpn,
  ascii,
  capture,
  handshake,
  message,
  record,
  records,
  sni,
  vector16,
  vector8,
  versions,
  type Extension,
  type Parts,
} from "./hellos.ts";

const read = (parts: Parts) => readClientHello(records(message(parts)));
const rich: Parts = {
  session: Array.from({ length: 32 }, () => 7),
  extensions: [
    [0x0a0a, []],
    sni("Example.COM"),
    alpn("h2", "http/1.1"),
    versions(0x1a1a, 0x0304, 0x0303),
    [21, [0, 0, 0]],
  ],
};
const richHello = { sni: "example.com", alpn: ["h2", "http/1.1"], versions: [0x1a1a, 0x0304, 0x0303] };

describe("hellos of real clients", () => {
  test("OpenSSL, TLS 1.2 alone", () => {
    expect(readClientHello(OPENSSL)).toEqual({
      state: "complete",
      hello: { sni: "origin.example", alpn: [], versions: [0x0303] },
    });
  });

  test("git", () => {
    expect(readClientHello(GIT)).toEqual({
      state: "complete",
      hello: { sni: "localhost", alpn: ["h2", "http/1.1"], versions: [0x0304, 0x0303, 0x0302, 0x0301] },
    });
  });

  test.each<[string, ConnectionOptions, object]>([
    [
      "both versions",
      { servername: "origin.example", ALPNProtocols: ["h2", "http/1.1"] },
      { sni: "origin.example", alpn: ["h2", "http/1.1"], versions: [0x0304, 0x0303] },
    ],
    [
      "TLS 1.2 alone",
      { servername: "ORIGIN.example", maxVersion: "TLSv1.2" },
      { sni: "origin.example", alpn: [], versions: [0x0303] },
    ],
    ["without a name", { minVersion: "TLSv1.3" }, { sni: undefined, alpn: [], versions: [0x0304] }],
  ])("Node, %s", async (_, options, hello) => {
    const bytes = await capture(options);
    expect(readClientHello(bytes)).toEqual({ state: "complete", hello });
    for (let end = 0; end < bytes.length; end++) {
      expect(readClientHello(bytes.subarray(0, end))).toEqual({ state: "incomplete" });
    }
  });
});

describe("every split", () => {
  test.each([
    ["OpenSSL", [...OPENSSL]],
    ["git", [...GIT]],
    ["synthetic", [...records(message(rich))]],
  ])("%s: of the bytes, of the message in two records, of both", (_, bytes) => {
    const whole = readClientHello(Uint8Array.from(bytes));
    expect(whole.state).toBe("complete");
    const body = bytes.slice(5);
    for (let cut = 1; cut < body.length; cut++) {
      const split = records(body, cut);
      expect(readClientHello(split)).toEqual(whole);
      expect(readClientHello(split.subarray(0, cut))).toEqual({ state: "incomplete" });
      expect(readClientHello(split.subarray(0, 5 + cut))).toEqual({ state: "incomplete" });
      expect(readClientHello(split.subarray(0, -1))).toEqual({ state: "incomplete" });
    }
  });

  test("any records, any prefix", () => {
    const body = message(rich);
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(sizes, fc.nat(), (sizes, cut) => {
        const bytes = records(body, ...sizes);
        expect(readClientHello(bytes)).toEqual({ state: "complete", hello: richHello });
        expect(readClientHello(bytes.subarray(0, cut % bytes.length))).toEqual({ state: "incomplete" });
      }),
    );
  });

  test("what follows in records of its own changes nothing", () => {
    const bytes = records(message(rich));
    for (const next of [record([1], 20), record([1, 2], 23), [22], [0], [255, 255, 255, 255, 255, 255]]) {
      expect(readClientHello(Uint8Array.from([...bytes, ...next]))).toEqual({
        state: "complete",
        hello: richHello,
      });
    }
  });

  test("a verdict on a prefix stands for every longer one", () => {
    const bytes = records(message(rich), 50, 20, 300);
    const change = fc.record({ at: fc.nat(bytes.length - 1), to: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 5, max: 400 }),
        (changes, limit) => {
          const changed = Uint8Array.from(bytes);
          for (const { at, to } of changes) changed[at] = to;
          let verdict = readClientHello(new Uint8Array(0), limit);
          for (let end = 1; end <= changed.length; end++) {
            const next = readClientHello(changed.subarray(0, end), limit);
            if (verdict.state !== "incomplete") expect(next).toEqual(verdict);
            verdict = next;
          }
        },
      ),
    );
  });
});

describe("not TLS", () => {
  test.each([
    ["HTTP", ascii("GET / HTTP/1.1\r\n\r\n")],
    ["one letter", ascii("G")],
    ["SOCKS5", [5, 1, 0]],
    ["SSH", ascii("SSH-2.0-OpenSSH_9.2\r\n")],
    ["an SSLv2 hello", [0x80, 0x2e, 1, 3, 1]],
    ["an alert", record([2, 40], 21)],
    ["application data", record([1], 23)],
    ["another major version", [22, 2, 0]],
    ["another major version yet", [22, 4, 0]],
  ])("%s", (_, bytes) => {
    expect(readClientHello(Uint8Array.from(bytes))).toEqual({ state: "not-tls" });
  });

  test.each([[[]], [[22]], [[22, 3]], [[22, 3, 1, 0]], [[22, 3, 1, 0, 5]]])(
    "%j could become TLS",
    (bytes) => {
      expect(readClientHello(Uint8Array.from(bytes))).toEqual({ state: "incomplete" });
    },
  );
});

describe("malformed records", () => {
  const body = message(rich);
  test.each([
    ["empty", record([])],
    ["empty after the first", [...record(body.slice(0, 9)), ...record([])]],
    ["too long", [22, 3, 1, 0x40, 0x01]],
    ["another message", record(handshake([], 2))],
    ["another message, at once", record([2]).slice(0, 6)],
    ["another type within", [...record(body.slice(0, 9)), ...record([1], 20)]],
    ["another type within, at once", [...record(body.slice(0, 9)), 21]],
    ["another version within", [...record(body.slice(0, 9)), 22, 2]],
    ["an octet after the hello", record([...body, 0])],
    ["a second hello in the record", record([...body, ...body])],
    [
      "an octet after the hello in its last record",
      [...record(body.slice(0, 9)), ...record([...body.slice(9), 0])],
    ],
    ["an empty hello", record(handshake([]))],
  ])("%s", (_, bytes) => {
    expect(readClientHello(Uint8Array.from(bytes))).toEqual({ state: "malformed" });
  });

  test("a record of 2^14 octets passes, and the version's low octet is ignored", () => {
    const padding: Extension = [
      21,
      Array.from({ length: 16_384 - message({ extensions: [[21, []]] }).length }, () => 0),
    ];
    const whole = message({ extensions: [padding] });
    expect(whole).toHaveLength(16_384);
    expect(readClientHello(Uint8Array.from(record(whole, 22, 0x03ff)))).toMatchObject({ state: "complete" });
  });
});

describe("limit", () => {
  const bytes = records(message(rich), 30);

  test("counts every octet up to the hello's last", () => {
    expect(readClientHello(bytes, bytes.length)).toMatchObject({ state: "complete" });
    expect(readClientHello(bytes, bytes.length - 1)).toEqual({ state: "malformed" });
    expect(readClientHello(Uint8Array.from([...bytes, 1, 2, 3]), bytes.length)).toMatchObject({
      state: "complete",
    });
  });

  test("is known as soon as the hello says how long it is", () => {
    expect(readClientHello(Uint8Array.of(22, 3, 1, 0, 4, 1, 1, 0, 0))).toEqual({ state: "malformed" });
    expect(readClientHello(Uint8Array.of(22, 3, 1, 0, 4, 1, 0, 255, 0))).toEqual({ state: "incomplete" });
    expect(readClientHello(Uint8Array.of(22, 3, 1, 2, 0), 512)).toEqual({ state: "malformed" });
    expect(readClientHello(Uint8Array.of(22, 3, 1, 1, 0), 512)).toEqual({ state: "incomplete" });
  });

  test("bounds a hello dripped in tiny records", () => {
    const drip = records(message({ extensions: [[21, Array.from({ length: 20_000 }, () => 0)]] }), 1);
    expect(readClientHello(drip.subarray(0, 65_531))).toEqual({ state: "incomplete" });
    expect(readClientHello(drip.subarray(0, 65_532))).toEqual({ state: "malformed" });
  });
});

describe("the hello's own fields", () => {
  test("no extensions at all", () => {
    const bare = message().slice(4, -2);
    expect(readClientHello(records(handshake(bare)))).toEqual({
      state: "complete",
      hello: { sni: undefined, alpn: [], versions: [0x0303] },
    });
    expect(read({})).toMatchObject({ state: "complete" });
    expect(read({ legacy: 0x0301 })).toMatchObject({ hello: { versions: [0x0301] } });
  });

  test.each<[string, Parts]>([
    ["another legacy version", { legacy: 0x0203 }],
    ["DTLS", { legacy: 0xfefd }],
    ["session id of 33 octets", { session: Array.from({ length: 33 }, () => 0) }],
    ["no cipher suite", { suites: [] }],
    ["half a cipher suite", { suites: [0x13, 0x01, 0x13] }],
    ["no compression method", { compressions: [] }],
    ["trailing octets", { trailing: [0] }],
    ["an extension twice", { extensions: [[23, []], alpn("h2"), [23, []]] }],
    ["SNI twice", { extensions: [sni("a.example"), sni("a.example")] }],
  ])("%s", (_, parts) => {
    expect(read(parts)).toEqual({ state: "malformed" });
  });

  test("cut anywhere, with its length set right, it is malformed", () => {
    const body = message(rich).slice(4);
    const bare = body.indexOf(0x0a0a >> 8, 2 + 32) - 2; // the extensions' length
    for (let end = 0; end < body.length; end++) {
      const state = readClientHello(records(handshake(body.slice(0, end)))).state;
      expect([end, state]).toEqual([end, end === bare ? "complete" : "malformed"]);
    }
  });
});

describe("extensions", () => {
  test.each<[string, Extension, object]>([
    ["SNI in any case", sni("WWW.Example.com"), { sni: "www.example.com" }],
    ["SNI as an A-label", sni("xn--mnchen-3ya.de"), { sni: "xn--mnchen-3ya.de" }],
    ["an unknown ALPN protocol", alpn("\xff\0"), { alpn: ["\xff\0"] }],
    ["a long ALPN protocol", alpn("a".repeat(255)), { alpn: ["a".repeat(255)] }],
    ["one version", versions(0x0304), { versions: [0x0304] }],
  ])("%s", (_, extension, hello) => {
    expect(read({ extensions: [extension] })).toMatchObject({ state: "complete", hello });
  });

  test.each<[string, Extension]>([
    ["SNI without a list", [0, []]],
    ["SNI with an empty list", sni()],
    ["an empty name", sni("")],
    ["two names", sni("a.example", "b.example")],
    ["another name type", [0, vector16([1, ...vector16(ascii("a.example"))])]],
    [
      "a second name of another type",
      [0, vector16([0, ...vector16(ascii("a.example")), 1, ...vector16([1])])],
    ],
    ["octets after the name", [0, vector16([0, ...vector16(ascii("a.example")), 0])]],
    ["octets after the list", [0, [...vector16([0, ...vector16(ascii("a.example"))]), 0]]],
    ["a name longer than its list", [0, vector16([0, 0, 99, ...ascii("a.example")])]],
    ["a list longer than its extension", [0, [0, 99, 0, ...vector16(ascii("a.example"))]]],
    ["a trailing dot", sni("a.example.")],
    ["an IPv4 address", sni("192.0.2.1")],
    ["an IPv6 address", sni("[2001:db8::1]")],
    ["a bare IPv6 address", sni("2001:db8::1")],
    ["an odd spelling of an address", sni("0x7f.1")],
    ["a U-label", sni("m\xfcnchen.de")],
    ["NUL", sni("a.example\0.evil.example")],
    ["a wildcard", sni("*.example")],
    ["a port", sni("a.example:443")],
    ["a name of 254 octets", sni(`${"a.".repeat(126)}aa`)],
    ["a name of 60,000 octets", sni("a".repeat(60_000))],
    ["ALPN without a list", [16, []]],
    ["ALPN with an empty list", alpn()],
    ["an empty protocol", alpn("h2", "")],
    ["a protocol longer than its list", [16, vector16([9, 1])]],
    ["octets after ALPN's list", [16, [...vector16(vector8([1])), 0]]],
    ["no version", versions()],
    ["versions without a list", [43, []]],
    ["half a version", [43, vector8([3, 4, 3])]],
    ["octets after the versions", [43, [...vector8([3, 4]), 0]]],
  ])("%s", (_, extension) => {
    expect(read({ extensions: [extension] })).toEqual({ state: "malformed" });
  });
});

test("the random tells one hello from another, however it is cut", () => {
  const random = String.fromCharCode(...Array.from({ length: 32 }, (_, at) => at));
  const whole = message({ extensions: [sni("origin.example")] });
  expect(helloRandom(records(whole))).toBe(random);
  expect(helloRandom(records(whole, ...whole.map(() => 1)))).toBe(random);
  expect(helloRandom(OPENSSL)).toHaveLength(32);
  expect(helloRandom(OPENSSL)).not.toBe(helloRandom(GIT));
  expect(helloRandom(OPENSSL.subarray(0, -1))).toBeUndefined();
});
