import { expect, test } from "vitest";
import { publicPattern } from "../../src/config/suffixes.ts";

test.each([
  ["**.github.io", "anyone may publish under github.io"],
  ["*.github.io", "anyone may publish under github.io"],
  ["**.GitHub.io.", "anyone may publish under github.io"],
  ["docs-*.github.io", "anyone may publish under github.io"],
  ["*.blob.core.windows.net", "anyone may publish under blob.core.windows.net"],
  ["**.core.windows.net", "anyone may publish under core.windows.net"],
  ["**.windows.net", "anyone may publish under windows.net"],
  ["**.s3.amazonaws.com", "anyone may publish under s3.amazonaws.com"],
  ["**.amazonaws.com", "anyone may publish under amazonaws.com"],
  ["*.storage.googleapis.com", "anyone may publish under storage.googleapis.com"],
  ["*.pages.dev", "anyone may publish under pages.dev"],
  ["*.com", "anyone may register a name under com"],
  ["**.co.uk", "anyone may register a name under co.uk"],
])("%s: %s", (pattern, why) => {
  expect(publicPattern(pattern)).toBe(why);
});

test.each([
  "github.io",
  "acme.github.io",
  "**.acme.github.io",
  "**.example.com",
  "api-*.example.com",
  "example.com",
  "com",
  "*.corp",
  "**.corp.internal",
  "*",
  "**",
  "10.0.0.0/8",
  "192.0.2.1",
  "",
])("%s is nobody else's", (pattern) => {
  expect(publicPattern(pattern)).toBeUndefined();
});
