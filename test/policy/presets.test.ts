import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { parse } from "yaml";

import { parsePattern } from "../../src/policy/pattern.ts";
import { decide } from "../../src/policy/decide.ts";
import { connect, problemsOf, shipped, snapshotOf } from "./support.ts";

const { zones } = JSON.parse(
  readFileSync(new URL("../fixtures/common-dependencies.json", import.meta.url), "utf8"),
) as { zones: string[] };
const names = readdirSync(new URL("../../presets/", import.meta.url))
  .map((file) => file.replace(/\.yaml$/, ""))
  .sort();

test("common-dependencies is the 71 published zones, each once, as **.zone", () => {
  const patterns = shipped("common-dependencies").flatMap((preset) => preset.patterns);
  expect(patterns.toSorted()).toEqual(zones.map((zone) => `**.${zone}`).sort());
  expect(patterns).toHaveLength(71);
});

test("none is empty and all has no patterns", () => {
  expect(shipped("none")).toEqual([]);
  expect(shipped("all")).toEqual([{ name: "all", patterns: [], intents: ["git-fetch", "npm-audit"] }]);
});

test.each(names)("%s has the shape that configuration reads, and compiles", (name) => {
  const text = readFileSync(new URL(`../../presets/${name}.yaml`, import.meta.url), "utf8");
  const preset = parse(text) as Record<string, unknown>;
  expect(preset["name"]).toBe(name);
  expect(preset["description"]).toEqual(expect.any(String));
  expect(["name", "description", "warning", "include", "hosts", "intents"]).toEqual(
    expect.arrayContaining(Object.keys(preset)),
  );
  expect(problemsOf({ presets: shipped(name) })).toEqual([]);
});

test("extended names exact hosts, each once, and none that is common already", () => {
  const hosts = shipped("extended").flatMap((preset) => preset.patterns);
  expect(new Set(hosts).size).toBe(hosts.length);
  expect(hosts.filter((host) => parsePattern(host).kind !== "name")).toEqual([]);
  const common = snapshotOf({ presets: shipped("common-dependencies") });
  expect(hosts.filter((host) => decide(common, connect(host)).action === "allow")).toEqual([]);
});

// Whoever can make a bucket or a site there could be sent the code.
test.each([
  "storage.googleapis.com",
  "x.s3.amazonaws.com",
  "x.blob.core.windows.net",
  "x.github.io",
  "cdn.jsdelivr.net",
])("no preset but `all` reaches %s", (host) => {
  const presets = names.filter((name) => name !== "all").flatMap(shipped);
  expect(decide(snapshotOf({ presets }), connect(host)).action).toBe("deny");
});
