import { expect, test } from "vitest";

import { parsePath } from "../../src/net/request-target.ts";
import { compileGlob, matchesAny, matchesEvery, type Glob } from "../../src/policy/paths.ts";

function glob(text: string): Glob {
  const compiled = compileGlob(text);
  if (!(compiled instanceof RegExp)) throw new Error(compiled.problem);
  return compiled;
}

test.each([
  ["/repos/acme/*", "/repos/acme/shop", true],
  ["/repos/acme/*", "/repos/acme/shop/pulls", false],
  ["/repos/acme/*", "/repos/acme/", false],
  ["/repos/acme/*", "/repos/acme/.github", true],
  ["/repos/acme/**", "/repos/acme/shop/pulls", true],
  ["/repos/acme/**", "/repos/acme/.git/config", true],
  ["/repos/acme/**", "/repos/acme/", true],
  ["/repos/acme/**", "/repos/acme", false],
  ["/repos/acme/**", "/repos/acmeevil/x", false],
  ["/repos/*/*/pulls", "/repos/acme/shop/pulls", true],
  ["/repos/*/*/pulls", "/repos/acme/shop/pulls/", false],
  ["/**", "/", true],
  ["/**", "/any/thing", true],
  ["/*", "/", false],
  ["/**/info/refs", "/a/b.git/info/refs", true],
  ["/a?c", "/abc", true],
  ["/a?c", "/a/c", false],
  ["/a*c", "/ac", true],
  ["/A", "/a", false],
  // What is special to a shell or a regular expression stands for itself.
  ["/@scope/pkg", "/@scope/pkg", true],
  ["/a(b|c)", "/a(b|c)", true],
  ["/a(b|c)", "/ab", false],
  ["/a+", "/aa", false],
  ["/[ab]", "/a", false],
  ["/[ab]", "/[ab]", true],
  ["/{a,b}", "/a", false],
  ["/!a", "/b", false],
  ["/a.b", "/axb", false],
  ["/a%20b", "/a%20b", true],
])("glob %s on %s: %s", (pattern, path, matches) => {
  expect(matchesEvery([glob(pattern)], parsePath(path)!)).toBe(matches);
  expect(matchesAny([glob(pattern)], parsePath(path)!)).toBe(matches);
});

test.each([
  // An origin may or may not take %2F for a slash, and // for one.
  ["/@scope/*", "/@scope%2fname", { any: true, every: false }],
  ["/@scope%2F*", "/@scope%2fname", { any: true, every: false }],
  ["/a/b", "/a//b", { any: true, every: false }],
  ["/**", "/a//b", { any: true, every: true }],
  // The same path in every reading.
  ["/admin", "/%61dmin", { any: true, every: true }],
  ["/a/c", "/a/b/../c", { any: true, every: true }],
  ["/a/b", "/a/b/../c", { any: false, every: false }],
  // No glob can tell.
  ["/**", "/a%252fb", { any: true, every: false }],
  ["/x", "/a%5Cb", { any: true, every: false }],
  ["/**", `/${"a".repeat(1023)}`, { any: true, every: true }],
  ["/**", `/${"a".repeat(1024)}`, { any: true, every: false }],
])("glob %s on the readings of %s", (pattern, path, expected) => {
  const [globs, parsed] = [[glob(pattern)], parsePath(path)!];
  expect({ any: matchesAny(globs, parsed), every: matchesEvery(globs, parsed) }).toEqual(expected);
});

test("both readings of a scoped npm name can be named", () => {
  expect(matchesEvery([glob("/@scope/*"), glob("/@scope%2F*")], parsePath("/@scope%2fname")!)).toBe(true);
});

test("an empty list matches nothing", () => {
  expect(matchesEvery([], parsePath("/")!)).toBe(false);
  expect(matchesAny([], parsePath("/")!)).toBe(false);
});

test.each([
  ["repos/*", "does not begin with `/`"],
  ["", "does not begin with `/`"],
  ["/a b", "never stands in a path"],
  ["/ü", "never stands in a path"],
  ["/a#b", "never stands in a path"],
  ["/a\\*", "backslash"],
  ["/%2fa", "write `/%2Fa`"],
  ["/%61", "write `/a`"],
  ["/%zz", "bad percent-encoding"],
  ["/a%", "bad percent-encoding"],
  ["/a//b", "resolved first"],
  ["/a/./b", "resolved first"],
  ["/a/..", "resolved first"],
  ["/a**", "whole segment"],
  ["/***", "whole segment"],
  ["/a*b*", "one `*`"],
  ["/**/a/**/b/**", "two `**`"],
])("glob %j is refused", (text, problem) => {
  expect(compileGlob(text)).toEqual({ problem: expect.stringContaining(problem) });
});

// A sandbox chooses the path, so the worst one must not cost much.
test.each(["/**/a/**/b", "/**/*a/**/*b", "/*a/*a/*a/*b"])("glob %s is not slow on any path", (pattern) => {
  const regexp = glob(pattern);
  const started = performance.now();
  for (const unit of ["a", "/a", "/aa", "/"]) {
    matchesAny([regexp], {
      sent: "/",
      canonical: unit.repeat(1024).slice(0, 1024),
      plain: true,
      ambiguous: false,
      query: "",
    });
  }
  expect(performance.now() - started).toBeLessThan(2_000);
});
