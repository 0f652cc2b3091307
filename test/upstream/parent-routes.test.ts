import * as fc from "fast-check";
import { expect, test } from "vitest";

import { parseAuthority } from "../../src/net/authority.ts";
import { createRouter, type ParentRoute } from "../../src/upstream/parent-routes.ts";

const route = (host: string, parent?: string, ports?: number[]): ParentRoute<string> => ({
  host,
  parent,
  ports,
});
const authority = (text: string) => parseAuthority(text)!;

test.each([
  ["a.corp.example:443", undefined],
  ["corp.example:443", undefined],
  ["notcorp.example:443", "default"],
  ["corp.example.net:443", "default"],
  ["first.test:443", "one"],
  ["first.test:8443", "two"],
  ["other.test:443", "three"],
  ["10.1.2.3:443", undefined],
  ["11.1.2.3:443", "default"],
  ["[2001:db8::1]:443", "six"],
])("%s goes through %s", (target, parent) => {
  const way = createRouter({
    parent: "default",
    routes: [
      route("**.corp.example"),
      route("first.test", "one", [443, 444]),
      route("first.test", "two"),
      route("*.test", "three"),
      route("other.test", "never"),
      route("10.0.0.0/8"),
      route("2001:db8::/32", "six"),
    ],
  });
  expect(way(authority(target))).toBe(parent);
});

test("without a default, what no route names goes straight", () => {
  const way = createRouter({ parent: undefined, routes: [route("a.test", "one")] });
  expect([way(authority("a.test:1")), way(authority("b.test:1"))]).toEqual(["one", undefined]);
});

test("a route that is no pattern is refused", () => {
  expect(() => createRouter({ parent: undefined, routes: [route("*", "one")] })).toThrow(/upstream\.routes/);
});

test("the first in the order of writing decides, as if they were tried one by one", () => {
  const hosts = ["a.test", "b.a.test", "c.b.a.test", "test"];
  const host = fc.constantFrom(...hosts);
  const pattern = fc.tuple(fc.constantFrom("", "*.", "**."), host).map(([front, name]) => `${front}${name}`);
  const ports = fc.option(fc.subarray([80, 443], { minLength: 1 }), { nil: undefined });
  const matches = (written: string, name: string): boolean => {
    const bare = written.replace(/^\*+\./, "");
    if (!written.startsWith("*")) return name === bare;
    return name.endsWith(`.${bare}`) || (written.startsWith("**") && name === bare);
  };
  fc.assert(
    fc.property(
      fc.array(fc.tuple(pattern, ports), { maxLength: 6 }),
      host,
      fc.constantFrom(80, 443),
      (written, name, port) => {
        const routes = written.map(([text, at], index) => route(text, String(index), at));
        const naive = routes.find(
          (one) => matches(one.host, name) && (one.ports === undefined || one.ports.includes(port)),
        );
        const way = createRouter({ parent: "default", routes });
        expect(way(authority(`${name}:${port}`))).toBe(naive === undefined ? "default" : naive.parent);
      },
    ),
  );
});
