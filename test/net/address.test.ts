import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  type Address,
  type AddressClass,
  classify,
  contains,
  isMapped,
  parseAddress,
  parseNetwork,
} from "../../src/net/address.ts";

const address = (text: string): Address => {
  const parsed = parseAddress(text);
  if (parsed === undefined) throw new Error(`not an address: ${text}`);
  return parsed;
};

const v4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((octets) => octets.join("."));
/** Groups biased to zero, so that runs of zeros occur; written in full, in any case. */
const v6 = fc
  .array(fc.oneof(fc.constant(0), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .chain((groups) =>
    fc.tuple(fc.constant(groups.map((group) => group.toString(16)).join(":")), fc.boolean(), fc.boolean()),
  )
  .map(([text, upper, padded]) => {
    const spelt = padded
      ? text
          .split(":")
          .map((group) => group.padStart(4, "0"))
          .join(":")
      : text;
    return upper ? spelt.toUpperCase() : spelt;
  });

describe("parseAddress", () => {
  test.each([
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["192.0.2.1", "192.0.2.1"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["2001:DB8::1", "2001:db8::1"],
    ["2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"],
    // RFC 5952 §4.2: one group is not shortened; the longest run is; the first of equals is.
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
    ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["::ffff:1.2.3.4", "::ffff:1.2.3.4"],
    ["::ffff:102:304", "::ffff:1.2.3.4"],
    ["0:0:0:0:0:FFFF:1.2.3.4", "::ffff:1.2.3.4"],
    ["::1.2.3.4", "::102:304"],
    ["64:ff9b::1.2.3.4", "64:ff9b::102:304"],
    ["ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
  ])("%s is %s", (text, canonical) => {
    expect(parseAddress(text)).toBe(canonical);
  });

  test.each([
    "",
    ".",
    "1",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.",
    ".1.2.3",
    "1..2.3",
    "1.2.3.4.",
    "256.1.1.1",
    "1.1.1.256",
    "01.2.3.4",
    "1.2.3.04",
    "00.0.0.0",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.1",
    "2130706433",
    "1.2.3.4 ",
    " 1.2.3.4",
    "1.2.3.-4",
    "1.2.3.4/32",
    "١.2.3.4",
    "1111.222.333.44",
    ":",
    ":::",
    "1",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4::5:6:7:8",
    "::1:2:3:4:5:6:7:8",
    "1::2::3",
    ":1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:",
    "1:2:3:4:5:6:7:8:",
    "12345::",
    "g::",
    "-1::",
    "fe80::1%eth0",
    "fe80::1%25eth0",
    "[::1]",
    "::1 ",
    "::1.2.3",
    "::01.2.3.4",
    "::256.2.3.4",
    "::1.2.3.4:5",
    "1.2.3.4::",
    "1.2.3.4::5.6.7.8",
    "1:2:3:4:5:6:7:1.2.3.4",
    "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555",
  ])("%j is none", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test("canonical text stays as it is, and other spellings come to it", () => {
    fc.assert(
      fc.property(fc.oneof(v4, v6), (text) => {
        const once = address(text);
        expect(parseAddress(once)).toBe(once);
        // Node's URL writes mapped addresses in hex; all others alike.
        if (text.includes(":") && !once.startsWith("::ffff:")) {
          expect(new URL(`http://[${text}]/`).hostname).toBe(`[${once}]`);
        }
      }),
    );
  });
});

describe("classify", () => {
  // Both edges of every block, and what lies just outside.
  test.each<[AddressClass, string]>([
    [
      "public",
      `
        1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
        168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
        191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0 192.31.195.255 192.31.197.0 192.52.192.255
        192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 192.175.47.255 192.175.49.0
        198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0 203.0.112.255 203.0.114.0 223.255.255.255
        2000:: 2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200:: 2001:db7:ffff:: 2001:db9::
        2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2003:: 2620:4f:7fff:: 2620:4f:8001::
        3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000:: 3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
        2606:4700::6810:84e5 2a00::5efd:1.2.3.4 2a00::5eff:1.2.3.4 2a00::100:5efe:1.2.3.4
        2a00::1:5efe:1.2.3.4
      `,
    ],
    ["loopback", "127.0.0.0 127.0.0.1 127.255.255.255 ::1"],
    [
      "private",
      `
        10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 fc00::
        fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fd00:ec2::253 fd00:ec2::255
      `,
    ],
    [
      "link-local",
      `
        169.254.0.0 169.254.255.255 169.254.169.253 169.254.169.255 169.254.170.1 fe80::
        febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80::a9fe:a9fd
      `,
    ],
    [
      "metadata",
      `
        169.254.169.254 169.254.170.2 169.254.170.23 169.254.42.42 169.254.0.23 168.63.129.16
        100.100.100.200 192.0.0.192 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:42::42 fe80::a9fe:a9fe
      `,
    ],
    ["cgnat", "100.64.0.0 100.127.255.255 100.100.100.199 100.100.100.201"],
    [
      "multicast",
      `
        224.0.0.0 239.255.255.255 255.255.255.255 ff00:: ff02::1 ff02::5efe:1.2.3.4
        ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
      `,
    ],
    [
      "reserved",
      `
        0.0.0.0 0.255.255.255 192.0.0.0 192.0.0.255 192.0.2.0 192.0.2.255 192.31.196.0 192.31.196.255
        192.52.193.0 192.52.193.255 192.88.99.0 192.88.99.255 192.175.48.0 192.175.48.255 198.18.0.0
        198.19.255.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 240.0.0.0 255.255.255.254
        :: ::1:0:0 ::fffe:ffff:ffff ::1:0:0:0 ::fffe:ffff:0:0 ::ffff:1:0:0 ::1:0:0:0:0 64:ff9a:ffff::
        64:ff9b::1:0:0 64:ff9b:0:ffff:: 64:ff9b:2:: 100:: 100::ffff:ffff:ffff:ffff 100:0:0:1:: ff:ffff::
        1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:1:: 2001:20::1
        2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
        2620:4f:8000:: 2620:4f:8000:ffff:ffff:ffff:ffff:ffff 3fff::
        3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff 4000:: 5f00:: 5f00:ffff:: 5f01:: e000::
        fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe00:: fe7f:ffff:: fec0::
        feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
      `,
    ],
    [
      "embedded",
      `
        ::2 ::1.2.3.4 ::255.255.255.255 ::ffff:0.0.0.0 ::ffff:8.8.8.8 ::ffff:255.255.255.255
        ::ffff:0:0:0 ::ffff:0:8.8.8.8 ::ffff:0:255.255.255.255 64:ff9b:: 64:ff9b::8.8.8.8
        64:ff9b::255.255.255.255 64:ff9b:1:: 64:ff9b:1:ffff:ffff:ffff:ffff:ffff 2001::
        2001:0:ffff:ffff:ffff:ffff:ffff:ffff 2002:: 2002:a00:1:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
        2a00::5efe:1.2.3.4 2a00::200:5efe:10.0.0.1 fe80::5efe:1.2.3.4 fd00::200:5efe:1.2.3.4
      `,
    ],
  ])("%s", (expected, block) => {
    const texts = block.trim().split(/\s+/);
    expect(texts.map((text) => [text, classify(address(text))])).toEqual(
      texts.map((text) => [text, expected]),
    );
  });

  test("takes parsed addresses only", () => {
    expect(() => classify("127.1" as Address)).toThrow(TypeError);
  });
});

test.each([
  ["::ffff:10.0.0.1", true],
  ["::ffff:0:0/96", true],
  ["::ffff:10.0.0.0/104", true],
  ["::/0", false],
  ["::/95", false],
  ["::fffe:10.0.0.1", false],
  ["::10.0.0.1", false],
  ["10.0.0.1", false],
  ["0.0.0.0/0", false],
])("%s is IPv4 inside IPv6: %s", (text, expected) => {
  expect(isMapped(parseNetwork(text)!)).toBe(expected);
});

describe("parseNetwork and contains", () => {
  test.each([
    ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "::ffff:10.0.0.1"]],
    ["0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::ffff:1.2.3.4"]],
    ["192.0.2.1", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]],
    ["192.0.2.1/32", ["192.0.2.1"], ["192.0.2.0", "192.0.2.2"]],
    ["192.0.2.2/31", ["192.0.2.2", "192.0.2.3"], ["192.0.2.1", "192.0.2.4"]],
    ["172.16.0.0/12", ["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]],
    ["::/0", ["::", "ffff::"], ["0.0.0.0"]],
    ["2001:db8::/33", ["2001:db8::", "2001:db8:7fff::"], ["2001:db8:8000::", "2001:db7:ffff::"]],
    ["2001:DB8::1/128", ["2001:db8::1"], ["2001:db8::", "2001:db8::2"]],
    ["::ffff:10.0.0.0/104", ["::ffff:10.1.2.3"], ["10.1.2.3", "::ffff:11.0.0.0"]],
  ])("%s", (text, inside, outside) => {
    const network = parseNetwork(text)!;
    expect(inside.filter((each) => !contains(network, address(each)))).toEqual([]);
    expect(outside.filter((each) => contains(network, address(each)))).toEqual([]);
  });

  test.each([
    "",
    "/",
    "/8",
    "10.0.0.0/",
    "10.0.0.0/33",
    "10.0.0.0/08",
    "10.0.0.0/+8",
    "10.0.0.0/ 8",
    "10.0.0.0/8/8",
    "10.0.0.0/8.0",
    "10.0.0.0/255.0.0.0",
    "10.0.0.1/8",
    "10.0.0.0/6",
    "10/8",
    "010.0.0.0/8",
    "2001:db8::1/127",
    "2001:db8::/28",
    "::/129",
    "::/1000",
    "[::]/0",
    "fe80::%eth0/64",
    "example.com/8",
  ])("%j is none", (text) => {
    expect(parseNetwork(text)).toBeUndefined();
  });

  test("a network holds an address if and only if their first bits are the same", () => {
    const bits = (text: string): string =>
      [...parseNetwork(text)!.bytes].map((b) => b.toString(2).padStart(8, "0")).join("");
    fc.assert(
      fc.property(fc.oneof(fc.tuple(v4, v4), fc.tuple(v6, v6)), fc.nat(128), ([a, b], prefix) => {
        const network = {
          bytes: parseNetwork(a)!.bytes,
          prefix: Math.min(prefix, a.includes(":") ? 128 : 32),
        };
        const same = bits(a).slice(0, network.prefix) === bits(b).slice(0, network.prefix);
        expect(contains(network, address(b))).toBe(same);
      }),
    );
  });
});
