import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

import type { Host } from "../../src/net/host.ts";
import { createHostsFile, parseHosts } from "../../src/upstream/hosts-file.ts";

const directory = mkdtempSync(join(tmpdir(), "sallyport-hosts-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("parseHosts", () => {
  const text = [
    "127.0.0.1\tlocalhost loopback # here",
    "# 192.0.2.9 commented.example",
    "  192.0.2.1   A.Example   b.example\r",
    "192.0.2.1 a.example",
    "2001:DB8::1 a.example",
    "fe80::1%eth0 zone.example",
    "127.1 odd.example",
    "192.0.2.2",
    "192.0.2.3 bad..name ok.example",
    "",
  ].join("\n");
  expect(Object.fromEntries(parseHosts(text))).toEqual({
    localhost: ["127.0.0.1"],
    loopback: ["127.0.0.1"],
    "a.example": ["192.0.2.1", "2001:db8::1"],
    "b.example": ["192.0.2.1"],
    "ok.example": ["192.0.2.3"],
  });
});

test("is read again when it changes, at most every five seconds; too long or missing answers nothing", () => {
  const path = join(directory, "hosts");
  let now = 0;
  const hosts = createHostsFile(path, () => now);
  const look = () => hosts("a.example" as Host);
  expect(look()).toBeUndefined();
  writeFileSync(path, "192.0.2.1 a.example\n");
  expect(look()).toBeUndefined();
  now = 5_000;
  expect(look()).toEqual(["192.0.2.1"]);
  writeFileSync(path, "192.0.2.1 a.example\n192.0.2.2 a.example\n");
  now = 9_999;
  expect(look()).toEqual(["192.0.2.1"]);
  now = 10_000;
  expect(look()).toEqual(["192.0.2.1", "192.0.2.2"]);
  truncateSync(path, 1024 * 1024 + 1);
  now = 15_000;
  expect(look()).toBeUndefined();
  truncateSync(path, 20);
  now = 20_000;
  expect(look()).toEqual(["192.0.2.1"]);
  rmSync(path);
  now = 25_000;
  expect(look()).toBeUndefined();
});
