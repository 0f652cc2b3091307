// A rule that is written into sallyport.yaml by the proxy itself: what stood there stays as it was, comments and order included,
// or nothing is written.

import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { appendRule, type NewRule } from "../../src/config/append-rule.ts";
import { loadConfig } from "../../src/config/load.ts";
import { writeRule } from "../../src/config/rule-file.ts";

const RULE: NewRule = {
  policy: "default",
  host: "api.example.com",
  port: 443,
  method: "POST",
  paths: ["/made"],
  reason: "our own: API # 1",
  comment: "ap_1: approved by token:ada",
};

const FILE = `# What leaves our sandboxes.
listen: 127.0.0.1:0

sandboxes:
  - { id: ci, secret: \${CI_TOKEN}, policy: default } # the runner

policies:
  default:
    preset: none
    methods: all   # for now
    allow:
      # the mirror
      - { host: mirror.example.com, reason: "packages" }
      - other.example.com
    deny: [gist.github.com]
  # for a while
  empty: { preset: none }
`;

describe("the text", () => {
  test("keeps comments, order and secrets, and has the rule behind the others", () => {
    const appended = appendRule(FILE, RULE);
    if ("problem" in appended) throw new Error(appended.problem);
    expect(appended.text).toBe(
      FILE.replace("methods: all   # for now", "methods: all # for now")
        .replace("deny: [gist.github.com]", "deny: [ gist.github.com ]")
        .replace(
          "      - other.example.com\n",
          `      - other.example.com
      # ap_1: approved by token:ada
      - { host: api.example.com, ports: [ 443 ], methods: [ POST ], paths: [ /made ], reason: "our own: API # 1" }
`,
        ),
    );
  });

  test("begins a list where there is none", () => {
    const appended = appendRule(FILE, { ...RULE, policy: "empty" });
    expect(appended).toMatchObject({ text: expect.stringContaining("host: api.example.com") as unknown });
  });

  test.each([
    { name: "no such policy", text: FILE, policy: "other" },
    { name: "no policies", text: "listen: 127.0.0.1:0\n", policy: "default" },
    {
      name: "a policy in two places",
      text: "policies: { default: &a { preset: none }, b: *a }\n",
      policy: "default",
    },
    {
      name: "an alias",
      text: "policies: { default: { preset: none }, b: &a { preset: none }, c: *a }\n",
      policy: "c",
    },
    {
      name: "rules in two places",
      text: "policies: { default: { allow: &a [x.example] }, b: { allow: *a } }\n",
      policy: "default",
    },
    { name: "a file that cannot be read", text: "policies: [\n", policy: "default" },
  ])("is left alone where there is $name", ({ text, policy }) => {
    expect(appendRule(text, { ...RULE, policy })).toEqual({ problem: expect.any(String) as unknown });
  });

  test("a name cannot end the comment, nor a reason its line", () => {
    const comment = "ap_1: approved by x\n      - evil.example # ";
    const appended = appendRule(FILE, { ...RULE, comment, reason: 'x" }\n      - evil.example' });
    if ("problem" in appended) throw new Error(appended.problem);
    expect(appended.text).not.toMatch(/^\s*- evil/m);
  });
});

describe("the file", () => {
  let directory: string;
  let file: string;
  const load = () => ({ cwd: directory, env: { CI_TOKEN: "0123456789abcdef" } });
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "sallyport-rule-"));
    file = join(directory, "sallyport.yaml");
    await writeFile(file, FILE, { mode: 0o640 });
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  test("is replaced in one step, with its mode, and says what is meant; asked only, it stays", async () => {
    expect(await writeRule(load(), RULE, { write: false })).toBeUndefined();
    expect(await readFile(file, "utf8")).toBe(FILE);
    expect(await writeRule(load(), RULE, { write: true })).toBeUndefined();
    expect((await stat(file)).mode & 0o777).toBe(0o640);
    expect(await readdir(directory)).toEqual(["sallyport.yaml"]);
    const loaded = await loadConfig(load());
    expect(loaded.ok && loaded.policies[0]?.allow.at(-1)).toMatchObject({
      host: "api.example.com",
      ports: [443],
      methods: ["POST"],
      paths: ["/made"],
      reason: "our own: API # 1",
    });
  });

  test("behind a link, the link stays", async () => {
    const link = join(directory, "link.yaml");
    await symlink(file, link);
    expect(await writeRule({ ...load(), path: link }, RULE, { write: true })).toBeUndefined();
    expect(await readFile(file, "utf8")).toContain("ap_1");
    expect((await readdir(directory)).toSorted()).toEqual(["link.yaml", "sallyport.yaml"]);
  });

  test.each([
    { name: "what is read-only", mend: () => chmod(file, 0o440), problem: /read-only/ },
    { name: "none", mend: () => rm(file), problem: /no configuration file/ },
    { name: "what is not valid", mend: () => writeFile(file, "policy: {}\n"), problem: /not valid/ },
  ])("never into $name", async ({ mend, problem }) => {
    await mend();
    expect(await writeRule(load(), RULE, { write: true })).toMatch(problem);
  });

  test("nor a rule that the configuration would refuse", async () => {
    expect(await writeRule(load(), { ...RULE, method: "post" }, { write: true })).toMatch(/case-sensitive/);
    expect(await readFile(file, "utf8")).toBe(FILE);
    expect(await readdir(directory)).toEqual(["sallyport.yaml"]);
  });
});
