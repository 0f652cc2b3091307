// What is generated from the schema is current, and the documentation's example is a file that loads.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { configJsonSchema, requirementsJsonSchema } from "../../src/config/json-schema.ts";
import { loadConfig } from "../../src/config/load.ts";
import { configReference } from "../../src/config/reference.ts";
import { renderAll } from "../../scripts/generate-docs.ts";
import { fixture } from "./fixture.ts";

const DOCS = join(import.meta.dirname, "../../docs");

test("the generated documentation is current (node scripts/generate-docs.ts)", async () => {
  for (const { file, before, after } of await renderAll())
    expect({ file, text: before }).toEqual({ file, text: after });
});

test("a section without its markers is an error, one with them is replaced", async () => {
  const render = () => "text";
  await expect(renderAll([{ file: "docs/configuration.md", marker: "nope", render }])).rejects.toThrow(
    "docs/configuration.md has no section <!-- generated:nope -->",
  );
  const [rendered] = await renderAll([{ file: "docs/configuration.md", marker: "config", render }]);
  expect(rendered?.after).toContain("<!-- generated:config -->\n\ntext\n\n<!-- /generated -->");
  expect(await renderAll([{ file: "docs/not-there.txt", render }])).toEqual([
    { file: "docs/not-there.txt", before: "", after: "text" },
  ]);
});

test("every key has its row, its default and its meaning", () => {
  const rows = configReference().split("\n");
  expect(rows.slice(0, 3)).toEqual([
    "| Key | Type | Default | Meaning |",
    "| --- | --- | --- | --- |",
    "| `listen` | address:port or mapping or list of address:port or mapping | `[127.0.0.1:3128]` | Where sandboxes connect: `address:port` or a list, also of mappings; port 0 takes a free one. |",
  ]);
  expect(rows.filter((row) => row.endsWith("|  |"))).toEqual([]);
  const keys = rows.map((row) => row.split("|")[1]?.trim());
  expect(keys).toContain("`policies.<name>.allow[].host`");
  expect(keys).toContain("`sandboxes[].policy.setup`");
  expect(keys).toContain("`limits.mintings_burst`");
});

test("the JSON Schema is closed, as the file is", () => {
  const open: string[] = [];
  const walk = (node: unknown, path: string): void => {
    if (typeof node !== "object" || node === null) return;
    if ("properties" in node && !("additionalProperties" in node && node.additionalProperties === false))
      open.push(path);
    for (const [key, child] of Object.entries(node)) walk(child, `${path}/${key}`);
  };
  walk(configJsonSchema(), "");
  walk(requirementsJsonSchema(), "");
  expect(open).toEqual([]);
});

test("the documentation's requirements are read, and hold the defaults to nothing that they exceed", async () => {
  const text = await readFile(join(DOCS, "requirements.md"), "utf8");
  const [, example = ""] = /```yaml\n(.*?)```/s.exec(text) ?? [];
  const { load } = await fixture({
    "sallyport.yaml": "anonymous: default\naudit: { durability: disk }\n",
    "admin/requirements.yaml": example,
  });
  const loaded = await loadConfig(load);
  expect((loaded.ok ? loaded.warnings : loaded.diagnostics).map(formatDiagnostic)).toEqual([]);
  const [requirements] = loaded.requirements;
  expect(Object.values(requirements ?? {}).filter((one) => one === undefined)).toHaveLength(2);
});

test("the documentation's examples load", async () => {
  const examples = [
    ...(await readFile(join(DOCS, "configuration.md"), "utf8")).matchAll(/```yaml\n(.*?)```/gs),
  ];
  const [config = "", preset = ""] = examples.map(([, text]) => text);
  const { load } = await fixture({ "sallyport.yaml": config, "presets/my-company.yaml": preset });
  const env = { CI_RUNNER_TOKEN: "correct-horse-battery", BUILDER_TOKEN: "correct-horse-battery" };
  const loaded = await loadConfig({ ...load, env });
  expect((loaded.ok ? loaded.warnings : loaded.diagnostics).map(formatDiagnostic)).toEqual([
    "sallyport.yaml:23:3 warning: the preset `all` is not recommended: code and secrets can be sent to any host",
  ]);
  expect(loaded.ok && loaded.policies.map(({ name }) => name)).toEqual(["default", "setup"]);
});

test("the design's file loads, less what later versions bring", async () => {
  const { load } = await fixture({
    "sallyport.yaml": `listen: [127.0.0.1:3128]             # one port
admin: 127.0.0.1:9128
certs: certs
upstream:
  trust: [system, bundled]
  hosts: { git.corp.example: [10.1.2.3] }
audit: { directory: data/audit, durability: process }
policies:
  default:
    preset: common-dependencies
    methods: read-only
    intents: [git-fetch]
    mode: enforce
    allow:
      - { host: api.github.com, methods: [POST], paths: [/repos/acme/shop/pulls], reason: open pull requests }
      - { host: git.corp.example, networks: [10.0.0.0/8], ports: [443, 8443] }
    deny:
      - { host: gist.github.com, reason: anyone can upload there }
    splice: []
  setup: { preset: all }
sandboxes:
  - { id: ci-runner, secret: \${TOKEN}, policy: default }
anonymous: default
`,
  });
  const loaded = await loadConfig(load);
  expect(loaded.ok && loaded.config.sandboxes[0]?.secret?.reveal()).toBe("correct-horse-battery");
});
