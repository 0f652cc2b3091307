import * as fc from "fast-check";
import { expect, test } from "vitest";

import { contains, type Address } from "../../src/net/address.ts";
import { isAddressLiteral, parseHost, type Host } from "../../src/net/host.ts";
import { HostIndex } from "../../src/policy/hosts.ts";
import { parsePattern, type HostPattern } from "../../src/policy/pattern.ts";

function pattern(text: string): HostPattern {
  const parsed = parsePattern(text);
  if (parsed.kind === "problem") throw new Error(parsed.message);
  return parsed;
}

function indexOf(texts: readonly string[]): HostIndex<Set<string>> {
  const index = new HostIndex<Set<string>>(() => new Set());
  for (const text of texts) for (const bucket of index.at(pattern(text))) bucket.add(text);
  return index;
}

function found(index: HostIndex<Set<string>>, host: Host): string[] {
  return [...new Set(index.find(host).flatMap((bucket) => [...bucket]))].sort();
}

/** One pattern at a time, by label lists: what the index must agree with. */
function matches(text: string, host: Host): boolean {
  const { kind } = pattern(text);
  if (kind === "network" || isAddressLiteral(host)) {
    const parsed = pattern(text);
    return (
      parsed.kind === "network" &&
      isAddressLiteral(host) &&
      contains(parsed.network, host as string as Address)
    );
  }
  const labels = host.split(".");
  const [front, ...rest] = text.split(".");
  const within = labels.slice(-rest.length).join(".") === rest.join(".");
  if (front === "**") return within;
  if (front === "*") return within && labels.length > rest.length;
  if (!front!.includes("*")) return text === host;
  const label = new RegExp(`^${front!.replace("*", ".*")}$`);
  return within && labels.length === rest.length + 1 && label.test(labels[0]!);
}

test.each([
  ["example.com", ["example.com"], ["www.example.com", "example.com.evil.test", "xexample.com", "com"]],
  [
    "*.example.com",
    ["a.example.com", "a.b.example.com"],
    ["example.com", "aexample.com", "a.example.com.evil.test"],
  ],
  ["**.example.com", ["example.com", "a.b.example.com"], ["aexample.com", "com", "example.org"]],
  [
    "api-*.example.com",
    ["api-1.example.com", "api-a-b.example.com"],
    ["api.example.com", "x.api-1.example.com", "api-1.evil.test", "xapi-1.example.com", "example.com"],
  ],
  ["a*a.example.com", ["aa.example.com", "aba.example.com"], ["a.example.com", "ab.example.com"]],
  ["192.0.2.1", ["192.0.2.1"], ["192.0.2.2", "a.192-0-2-1.example.com"]],
  ["192.0.2.0/25", ["192.0.2.0", "192.0.2.127"], ["192.0.2.128", "192.0.1.255", "[::ffff:192.0.2.1]"]],
  ["0.0.0.0/0", ["8.8.8.8", "0.0.0.0"], ["[::1]", "example.com"]],
  ["2001:db8::/33", ["[2001:db8::1]", "[2001:db8:7fff::]"], ["[2001:db8:8000::]", "32.1.13.184"]],
  ["::/0", ["[2001:db8::1]", "[::ffff:1.2.3.4]"], ["1.2.3.4", "example.com"]],
])("%s", (text, inside, outside) => {
  const index = indexOf([text]);
  for (const host of inside) expect([host, found(index, parseHost(host)!)]).toEqual([host, [text]]);
  for (const host of outside) expect([host, found(index, parseHost(host)!)]).toEqual([host, []]);
});

test("every reaches DNS names alone", () => {
  const index = indexOf([]);
  index.every().add("every");
  expect(found(index, parseHost("localhost")!)).toEqual(["every"]);
  expect(found(index, parseHost("a.b.example.com")!)).toEqual(["every"]);
  expect(found(index, parseHost("192.0.2.1")!)).toEqual([]);
  expect(found(index, parseHost("[::1]")!)).toEqual([]);
});

test("the index finds what a scan finds", () => {
  const label = fc.constantFrom("a", "b", "ab", "aba", "a-b", "com");
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
  const v4 = fc.tuple(fc.constantFrom(10, 11), fc.constantFrom(0, 128)).map(([a, d]) => `${a}.0.0.${d}`);
  const v6 = fc.constantFrom("2001:db8::", "2001:db8:8000::", "::ffff:10.0.0.0");
  const text = fc.oneof(
    name,
    name.map((parent) => `*.${parent}`),
    name.map((parent) => `**.${parent}`),
    fc
      .tuple(fc.constantFrom("a*", "*b", "a*b", "ab*ba"), name)
      .map(([front, parent]) => `${front}.${parent}`),
    v4,
    fc
      .tuple(fc.constantFrom(10, 11), fc.constantFrom(8, 9, 15, 24))
      .map(([a, prefix]) => `${a}.0.0.0/${prefix}`),
    fc.constantFrom("2001:db8::/32", "2001:db8:8000::/33", "::ffff:10.0.0.0/104", "2001:db8::"),
  );
  const host = fc.oneof(
    name,
    v4,
    v6.map((address) => `[${address}]`),
  );
  fc.assert(
    fc.property(fc.array(text, { maxLength: 12 }), host, (texts, spelling) => {
      const parsed = parseHost(spelling)!;
      const expected = [...new Set(texts)].filter((one) => matches(one, parsed)).sort();
      expect(found(indexOf(texts), parsed)).toEqual(expected);
    }),
    { numRuns: 2_000 },
  );
});

test("a look-up visits as much among 100,000 patterns as among ten", () => {
  const texts = (count: number): string[] =>
    Array.from({ length: count }, (_, n) => (n % 2 === 0 ? `h${n}.example` : `l${n}-*-end.label.example`));
  const look = (count: number): number => {
    const index = new HostIndex<object>(() => ({}));
    for (const text of texts(count)) index.at(pattern(text));
    const hosts = [`h0.example`, `l1-x-end.label.example`, "absent.label.example"].map((host) =>
      parseHost(host)!,
    );
    const started = performance.now();
    for (let round = 0; round < 20_000; round++) for (const host of hosts) index.find(host);
    return performance.now() - started;
  };
  look(10);
  // Generous: a scan would be thousands of times slower.
  expect(look(100_000)).toBeLessThan(look(10) * 20 + 100);
});

test("what was found for a host is found anew once a pattern was added, and however many hosts were asked about", () => {
  const index = indexOf(["**.example", "10.0.0.0/8"]);
  const host = parseHost("a.example")!;
  const address = parseHost("10.1.2.3")!;
  expect(found(index, host)).toEqual(["**.example"]);
  expect(found(index, address)).toEqual(["10.0.0.0/8"]);
  for (const text of ["a.example", "10.1.2.3"])
    for (const bucket of index.at(pattern(text))) bucket.add(text);
  index.every().add("*");
  expect(found(index, host)).toEqual(["**.example", "*", "a.example"].sort());
  expect(found(index, address)).toEqual(["10.0.0.0/8", "10.1.2.3"]);
  for (let other = 0; other < 1_000; other++)
    expect(found(index, parseHost(`h${other}.example`)!)).toEqual(["**.example", "*"].sort());
  expect(found(index, host)).toEqual(["**.example", "*", "a.example"].sort());
});
