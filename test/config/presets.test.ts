import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { flattenPresets, loadPresets, shippedDirectory } from "../../src/config/presets.ts";
import { fixture, SHIPPED } from "./fixture.ts";

const preset = (name: string, rest = "") => `name: ${name}\ndescription: x\n${rest}\n`;

async function load(files: Record<string, string>) {
  const { cwd } = await fixture(files);
  const show = (path: string) => path.replace(`${cwd}/`, "");
  const loaded = await loadPresets({ directory: cwd, shipped: SHIPPED, show });
  return { ...loaded, cwd, messages: loaded.diagnostics.map(formatDiagnostic) };
}

test("the shipped presets are found from the package, in whatever depth", () => {
  const root = join(import.meta.dirname, "../..");
  expect(shippedDirectory()).toBe(join(root, "presets"));
  expect(shippedDirectory(join(root, "dist/src/config"))).toBe(join(root, "presets"));
  expect(shippedDirectory("/nowhere/at/all")).toBe("/presets");
});

test("without a directory there are only the shipped ones", async () => {
  const { library, diagnostics, files } = await loadPresets({ shipped: SHIPPED });
  expect([...library.keys()]).toEqual(["all", "common-dependencies", "none", "npm", "pypi"]);
  expect({ diagnostics, files }).toEqual({ diagnostics: [], files: [] });
});

test("includes are flattened, each preset once, the pattern-less ones gone but for `all`", async () => {
  const { library, messages } = await load({
    "a.yaml": preset("a", "include: [b, npm]\nhosts: [a.example]"),
    "b.yaml": preset("b", "include: [npm, none]"),
    ".hidden.yaml": "{",
    "notes.txt": "{",
  });
  expect(messages).toEqual([]);
  const npm = { name: "npm", patterns: ["**.npmjs.org", "**.yarnpkg.com"], intents: [] };
  expect(flattenPresets(library, ["a", "all", "npm", "nope"])).toEqual([
    { name: "a", patterns: ["a.example"], intents: [] },
    { ...npm, by: ["a", "b"] },
    { name: "all", patterns: [], intents: [] },
  ]);
  expect(flattenPresets(library, ["npm", "npm"])).toEqual([npm]);
  expect(flattenPresets(library, ["b"])).toEqual([{ ...npm, by: ["b"] }]);
  expect(flattenPresets(library, ["none"])).toEqual([]);
});

test("everything wrong in a directory is said at once", async () => {
  const { messages } = await load({
    "npm.yaml": preset("npm"),
    "other.yaml": preset("mine"),
    "incomplete.yaml": "hosts: [3]",
    "broken.yaml": "a: [",
    "unknown.yaml": preset("unknown", "include: [pipy, nope]"),
    "wild.yaml": preset("wild", "extra: 1"),
    "hosts.yaml": preset("hosts", 'hosts: [10.0.0.0/8, "*", Example.com, b.example]'),
  });
  expect(messages.sort()).toEqual([
    "broken.yaml:1:5 flow sequence in block collection must be sufficiently indented and end with a ]",
    "hosts.yaml:3:21 a wildcard alone names every host; the preset `all` does that, and says so",
    "hosts.yaml:3:26 `Example.com` is not in its canonical spelling; write `example.com`",
    "hosts.yaml:3:9 only a rule can name an address or a network, no preset",
    'incomplete.yaml:1:1 missing key "description"',
    'incomplete.yaml:1:1 missing key "name"',
    "incomplete.yaml:1:9 expected a host pattern such as example.com, *.example.com or **.example.com, got a number",
    'npm.yaml:1:7 preset "npm": a shipped preset has this name; choose another',
    'other.yaml:1:7 preset "mine": expected "other", as the file is called',
    'unknown.yaml:3:11 unknown preset "pipy" (did you mean "pypi"?)',
    'unknown.yaml:3:17 unknown preset "nope" (did you mean "none"?)',
    'wild.yaml:3:1 unknown key "extra"',
  ]);
});

test("presets that include each other are told so, once a circle, and flattening ends", async () => {
  const { library, messages } = await load({
    "a.yaml": preset("a", "include: [b]"),
    "b.yaml": preset("b", "include: [c, npm]\nhosts: [b.example]"),
    "c.yaml": preset("c", "include: [b]"),
    "self.yaml": preset("self", "include: [self]"),
  });
  expect(messages).toEqual([
    "c.yaml:3:11 presets include each other: b -> c -> b",
    "self.yaml:3:11 presets include each other: self -> self",
  ]);
  expect(flattenPresets(library, ["a"]).map(({ name }) => name)).toEqual(["b", "npm"]);
});

test("two files of the operator's cannot have one name", async () => {
  const { messages } = await load({ "one.yaml": preset("one"), "two.yaml": preset("one") });
  expect(messages).toEqual([
    'two.yaml:1:7 preset "one": expected "two", as the file is called',
    'two.yaml:1:7 preset "one": another preset has this name',
  ]);
});

test("files that cannot be read are errors", async () => {
  const { cwd } = await fixture();
  await symlink("nowhere", join(cwd, "gone.yaml"));
  const dangling = await loadPresets({ directory: cwd, shipped: SHIPPED });
  expect(dangling.diagnostics.map(({ message }) => message)).toEqual([
    "the preset cannot be read: it is not there",
  ]);
  const file = await loadPresets({ directory: join(SHIPPED, "npm.yaml"), shipped: SHIPPED });
  expect(file.diagnostics.map(({ message }) => message)).toEqual([
    "the presets cannot be read: it is not a directory, or its path goes through a file",
  ]);
});
