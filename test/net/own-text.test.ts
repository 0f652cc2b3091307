import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { parseAddress } from "../../src/net/address.ts";
import { parseHost } from "../../src/net/host.ts";
import { ownText } from "../../src/net/own-text.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Octets that the heap holds more, once `make` has made so many. */
function kept(make: (index: number) => unknown): number {
  const made: unknown[] = [];
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let index = 0; index < 400; index++) made.push(make(index));
  collect();
  const after = process.memoryUsage().heapUsed;
  expect(made).toHaveLength(400);
  return after - before;
}

/** Cut out of a text as long as a head may be. */
const cut = (text: string): string =>
  `${text} ${"x".repeat(60_000)}`.replaceAll("y", "z").slice(0, text.length);

test.each([
  ["a host", (index: number) => parseHost(cut(`a-host-of-some-length-${index}.example`))],
  ["a host with a dot", (index: number) => parseHost(cut(`a-host-of-some-length-${index}.example.`))],
  ["an address", (index: number) => parseAddress(cut(`192.168.100.${100 + (index % 100)}`))],
  ["a text", (index: number) => ownText(cut(`some text of any kind, ${index}`))],
])("%s keeps nothing of the text that it was cut out of", (_, make) => {
  expect(make(1)).toBeDefined();
  expect(kept(make)).toBeLessThan(2_000_000);
});

test("a slice does", () => {
  expect(kept((index) => cut(`some text of any kind, ${index}`))).toBeGreaterThan(20_000_000);
});

test.each(["", "short", "twelve chars", "thirteen char", "b\u00fccher.example", "\u0000\u00ff".repeat(20)])(
  "%j is the same text",
  (text) => {
    expect(ownText(text)).toBe(text);
  },
);
