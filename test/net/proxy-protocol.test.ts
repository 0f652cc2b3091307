import { assert, boolean, property, uint8Array } from "fast-check";
import { describe, expect, test } from "vitest";
import { readProxyHeader } from "../../src/net/proxy-protocol.ts";
import { binaryHeader, textHeader } from "../support/ways/proxy-header.ts";

const bytes = (header: string | Buffer): Buffer =>
  typeof header === "string" ? Buffer.from(header, "latin1") : header;

const V6 = Buffer.alloc(36);
V6.set([0x20, 0x01, 0x0d, 0xb8], 0);
V6[15] = 1;
V6[32] = 0x13;
V6[33] = 0x88;
const MAPPED = Buffer.from(V6).fill(0, 0, 16);
MAPPED.set([0xff, 0xff, 198, 51, 100, 7], 10);

describe("good headers, cut at every octet", () => {
  const source = (address: string, port = 5000) => ({ address, port });
  test.each<[string, string | Buffer, object | undefined]>([
    ["v1, IPv4", textHeader("198.51.100.7"), source("198.51.100.7")],
    ["v1, IPv6", textHeader("2001:DB8:0::7"), source("2001:db8::7")],
    ["v1, IPv4 in IPv6", textHeader("::ffff:198.51.100.7"), source("198.51.100.7")],
    ["v1, IPv4 in IPv6, in hexadecimal", textHeader("::FFFF:C633:6407"), source("198.51.100.7")],
    ["v1, port 0", textHeader("198.51.100.7", 0), source("198.51.100.7", 0)],
    ["v1, loopback", textHeader("127.0.0.1"), source("127.0.0.1")],
    ["v1, unknown", "PROXY UNKNOWN\r\n", undefined],
    ["v1, unknown with more", "PROXY UNKNOWN ffff:: x 1 2\r\n", undefined],
    ["v2, IPv4", binaryHeader(), source("198.51.100.7")],
    ["v2, IPv6", binaryHeader({ family: 0x21, block: V6 }), source("2001:db8::1")],
    ["v2, IPv4 in IPv6", binaryHeader({ family: 0x21, block: MAPPED }), source("198.51.100.7")],
    ["v2, TLVs", binaryHeader({ tlvs: Buffer.from([4, 0, 2, 1, 2]) }), source("198.51.100.7")],
    ["v2, local", binaryHeader({ command: 0, family: 0, block: Buffer.alloc(0) }), undefined],
    [
      "v2, a TLV longer than the rest",
      binaryHeader({ tlvs: bytes("\x04\xff\xffx") }),
      source("198.51.100.7"),
    ],
    ["v2, half a TLV", binaryHeader({ tlvs: bytes("\x04") }), source("198.51.100.7")],
    ["v2, as long as may be", binaryHeader({ tlvs: Buffer.alloc(2_048 - 28) }), source("198.51.100.7")],
    ["v2, local, of a Unix socket", binaryHeader({ command: 0, family: 0x31 }), undefined],
    ["v2, local with an address", binaryHeader({ command: 0 }), undefined],
    ["v2, unspecified", binaryHeader({ family: 0, block: Buffer.alloc(7) }), undefined],
  ])("%s", (_, header, expected) => {
    const whole = bytes(header);
    expect(readProxyHeader(whole)).toEqual({ state: "complete", source: expected, octets: whole.length });
    for (let at = 0; at < whole.length; at++)
      expect(readProxyHeader(whole.subarray(0, at))).toEqual({ state: "incomplete" });
    const more = Buffer.concat([whole, Buffer.from("GET / HTTP/1.1\r\n")]);
    expect(readProxyHeader(more)).toEqual({ state: "complete", source: expected, octets: whole.length });
  });
});

describe("bad ones", () => {
  test.each<[string, string | Buffer]>([
    ["HTTP", "GET / HTTP/1.1\r\n\r\n"],
    ["SOCKS5", Buffer.from([5, 1, 0])],
    ["lower case", "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"],
    ["two spaces", "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"],
    ["no ports", "PROXY TCP4 1.2.3.4 1.2.3.4\r\n"],
    ["more behind", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"],
    ["families mixed", "PROXY TCP4 1.2.3.4 ::1 1 2\r\n"],
    ["the other family", "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"],
    ["odd IPv4", "PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n"],
    ["short IPv4", "PROXY TCP4 127.1 1.2.3.4 1 2\r\n"],
    ["an address in one number", "PROXY TCP4 16909060 1.2.3.4 1 2\r\n"],
    ["an octet in hexadecimal", "PROXY TCP4 0x1.2.3.4 1.2.3.4 1 2\r\n"],
    ["IPv4 in IPv6, said to be IPv4", "PROXY TCP4 ::ffff:1.2.3.4 1.2.3.4 1 2\r\n"],
    ["brackets", "PROXY TCP6 [::1] ::1 1 2\r\n"],
    ["two ::", "PROXY TCP6 1::2::3 ::1 1 2\r\n"],
    ["no source", "PROXY TCP4  1.2.3.4 1 2\r\n"],
    ["a tab", "PROXY TCP4\t1.2.3.4 1.2.3.4 1 2\r\n"],
    ["a blank at the end", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"],
    ["NUL", "PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"],
    ["a CR inside", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r 2\r\n"],
    ["another line end inside", "PROXY TCP4 1.2.3.4 1.2.3.4\n1 2\r\n"],
    ["UNKNOWN and more of a word", "PROXY UNKNOWNS\r\n"],
    ["nothing said", "PROXY \r\n"],
    ["a port in hexadecimal", "PROXY TCP4 1.2.3.4 1.2.3.4 0x1 2\r\n"],
    ["a minus", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"],
    ["a port of six digits", "PROXY TCP4 1.2.3.4 1.2.3.4 1 100000\r\n"],
    ["a port of a thousand digits", `PROXY TCP4 1.2.3.4 1.2.3.4 1 ${"2".repeat(1_000)}\r\n`],
    ["a name", "PROXY TCP4 localhost 1.2.3.4 1 2\r\n"],
    ["a zone", "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"],
    ["a port with a zero", "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"],
    ["a port too large", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"],
    ["a sign", "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n"],
    ["UDP", "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"],
    ["a bare LF", `PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n${"x".repeat(100)}`],
    ["longer than any", `PROXY UNKNOWN ${"x".repeat(100)}\r\n`],
    ["v2 in another version", bytes(binaryHeader()).fill(0x11, 12, 13)],
    ["v2 of another command", binaryHeader({ command: 2 })],
    ["v2 in version 3", bytes(binaryHeader()).fill(0x31, 12, 13)],
    ["v2 in no version", bytes(binaryHeader()).fill(0x01, 12, 13)],
    ["v2, IPv4 of no protocol", binaryHeader({ family: 0x10 })],
    ["v2, a stream of no family", binaryHeader({ family: 0x01 })],
    ["v2, a family that there is not", binaryHeader({ family: 0x41 })],
    ["v2, datagrams of a Unix socket", binaryHeader({ family: 0x32, block: Buffer.alloc(216) })],
    ["v2, nothing where addresses should be", binaryHeader({ block: Buffer.alloc(0) })],
    ["v2, local without end", binaryHeader({ command: 0, tlvs: Buffer.alloc(0xffff - 12) })],
    ["v2, a line end short of its signature", Buffer.from("\r\n\r\n\0\r\nQUIT\r\n!\x11\0\x0c", "latin1")],
    ["v2, UDP", binaryHeader({ family: 0x12 })],
    ["v2, a Unix socket", binaryHeader({ family: 0x31, block: Buffer.alloc(216) })],
    ["v2, too short for its addresses", binaryHeader({ block: Buffer.alloc(11) })],
    ["v2, IPv6 in IPv4's room", binaryHeader({ family: 0x21 })],
    ["v2, TLVs without end", binaryHeader({ tlvs: Buffer.alloc(2_100) })],
  ])("%s", (_, header) => {
    const whole = bytes(header);
    const states = Array.from(
      { length: whole.length + 1 },
      (_, at) => readProxyHeader(whole.subarray(0, at)).state,
    );
    const first = states.indexOf("malformed");
    expect(first).toBeGreaterThan(0);
    expect(new Set(states.slice(0, first))).toEqual(new Set(["incomplete"]));
    expect(new Set(states.slice(first))).toEqual(new Set(["malformed"]));
  });
});

test("whatever is sent, nothing is held without a bound", () => {
  assert(
    property(uint8Array({ minLength: 2_100, maxLength: 2_200 }), boolean(), (octets, text) => {
      const sent = Buffer.concat([text ? bytes("PROXY ") : binaryHeader().subarray(0, 14), octets]);
      expect(readProxyHeader(sent).state).not.toBe("incomplete");
      expect(readProxyHeader(Buffer.from(octets)).state).not.toBe("incomplete");
    }),
  );
});
