// Requirements as an administrator gives them: from where they come, who must not be able to change them, and what the operator's
// file is told where it goes beyond them.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { chmod, lchown, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { exposed } from "../../src/config/guarded.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Reloader } from "../../src/config/reloader.ts";
import type { Loaded } from "../../src/config/types.ts";
import { writeRule } from "../../src/config/rule-file.ts";
import { fixture, requiredIn } from "./fixture.ts";

const VARIABLE = "SALLYPORT_REQUIREMENTS_BASE64";
const FILE = "admin/requirements.yaml";
const OPEN = "anonymous: default\npolicies: { default: {} }\n";
const ROOT = process.getuid?.() === 0;

const mounts = ((): boolean => {
  const probe = mkdtempSync(join(tmpdir(), "sallyport-mount-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", probe], { stdio: "ignore" });
    execFileSync("umount", [probe]);
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(probe);
  }
})();

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const lines = (loaded: Loaded): string[] =>
  (loaded.ok ? loaded.warnings : loaded.diagnostics).map(formatDiagnostic);

/** Diagnostics, or where the requirements that hold are from. */
async function loading(files: Record<string, string>, env: Record<string, string> = {}): Promise<string[]> {
  const { load } = await fixture(files);
  const loaded = await loadConfig({ ...load, env });
  return loaded.ok ? ["ok", ...loaded.requirements.map(({ source }) => source)] : lines(loaded);
}

describe("where they come from", () => {
  test("nowhere", async () => {
    expect(await loading({ "sallyport.yaml": OPEN })).toEqual(["ok"]);
  });

  test("the administrator's file, the variable and a file that the operator names: all of them hold", async () => {
    const files = { "sallyport.yaml": `${OPEN}requirements: mine.yaml\n`, [FILE]: "{}", "mine.yaml": "{}" };
    expect(await loading(files, { [VARIABLE]: base64("{}") })).toEqual(["ok", FILE, VARIABLE, "mine.yaml"]);
  });

  test("the administrator's file holds whatever the operator's says, once if he names it too", async () => {
    expect(await loading({ [FILE]: "{}" })).toEqual(["ok", FILE]);
    expect(await loading({ "sallyport.yaml": `${OPEN}requirements: ${FILE}\n`, [FILE]: "{}" })).toEqual([
      "ok",
      FILE,
    ]);
  });

  test("the strictest of them decides", async () => {
    const files = {
      "sallyport.yaml": "anonymous: default\npolicies: { default: { methods: [GET, POST] } }\n",
      [FILE]: "methods: [GET, POST]\n",
    };
    expect(await loading(files)).toEqual(["ok", FILE]);
    expect(await loading(files, { [VARIABLE]: base64("\nmethods: [GET]\n") })).toEqual([
      `sallyport.yaml:2:33 methods POST may not be allowed: only GET (required by ${VARIABLE}:2:10)`,
    ]);
  });

  test.each([
    ["empty", "", "this is empty; write {} if nothing is required"],
    ["not base64", "e30=!", "expected a text in base64"],
    ["not all of it", "e31=", "expected a text in base64"],
    ["of URLs", base64("deny: [ÿÿÿ]").replaceAll("/", "_"), "expected a text in base64"],
    ["not UTF-8", Buffer.from([0xff]).toString("base64"), "expected a text in base64"],
    ["not YAML", base64("{"), "flow map"],
    ["an unknown key", base64("metods: []"), 'unknown key "metods" (did you mean "methods"?)'],
  ])("a variable that is %s is refused", async (_what, value, message) => {
    const [told, ...more] = await loading({ "sallyport.yaml": OPEN }, { [VARIABLE]: value });
    expect(told).toMatch(new RegExp(`^${VARIABLE}:1:\\d+ `));
    expect(told).toContain(message);
    expect(more).toEqual([]);
  });

  test("one that is wrapped is read", async () => {
    const text = base64(`# ${"x".repeat(200)}\n{}`).replaceAll(/.{76}/g, "$&\n");
    expect(await loading({ "sallyport.yaml": OPEN }, { [VARIABLE]: `${text}\n` })).toEqual(["ok", VARIABLE]);
  });

  test("a file that is named must be there, the administrator's need not", async () => {
    expect(await loading({ "sallyport.yaml": `${OPEN}requirements: none.yaml\n` })).toEqual([
      "none.yaml:1:1 the file cannot be read: it is not there",
    ]);
    expect(await loading({ "sallyport.yaml": `${OPEN}requirements: 7\n` })).toEqual([
      "sallyport.yaml:3:15 expected a file path (without ${…}: variables are expanded only in secrets), got a number",
    ]);
  });

  test("what is wrong in it is told beside what is wrong in the operator's file", async () => {
    const wrong = `presets: all
methods: [get]
hosts: [https://a.example]
deny: { a: b }
splice: no
mode: report-only
audit: { durability: process }
grants: { role: viewer, longest: 1y, always: never }
budgets: { upload: much, mine: 7 }
budget: 7
`;
    const inFile = [
      `${FILE}:1:10 expected a list of preset names`,
      `${FILE}:2:11 methods are case-sensitive: "get" (did you mean "GET"?)`,
      `${FILE}:3:9 \`https://a.example\` is not in its canonical spelling; write \`a.example\``,
      `${FILE}:4:7 expected a list of host patterns, got a mapping`,
      `${FILE}:5:9 expected a list of host patterns`,
      `${FILE}:6:7 expected "enforce", got "report-only"`,
      `${FILE}:7:22 expected "disk", got "process"`,
      `${FILE}:8:17 expected "approver", "operator" or "admin", got "viewer"`,
      `${FILE}:8:34 expected a duration such as 500ms, 30s or 5m, from 1s to 720h`,
      `${FILE}:8:46 expected true or false`,
      `${FILE}:9:20 expected a size such as 10MiB, alone for the sandbox's life or with /min, /hour or /day`,
      `${FILE}:9:26 unknown key "mine"`,
      `${FILE}:10:1 unknown key "budget" (did you mean "budgets"?)`,
    ];
    const broken: [string, string][] = [
      ["{", "sallyport.yaml:1:2"],
      ["lissten: 1", "sallyport.yaml:1:1"],
    ];
    for (const [text, place] of broken) {
      const told = await loading({ "sallyport.yaml": text, [FILE]: wrong });
      expect(told.filter((line) => line.startsWith(FILE))).toEqual(inFile);
      expect(told.some((line) => line.startsWith(place))).toBe(true);
    }
    const { load } = await fixture({ [FILE]: wrong });
    expect(lines(await loadConfig({ ...load, path: "none.yaml" }))).toEqual([
      ...inFile,
      "none.yaml:1:1 the file cannot be read: it is not there",
    ]);
  });

  test("what contradicts itself, or says nothing, is refused", async () => {
    const splice = await loading({
      "sallyport.yaml": OPEN,
      [FILE]: "methods: read-only\nsplice: [a.example]\n",
    });
    expect(splice).toEqual([
      `${FILE}:2:1 what is passed unread cannot be held to \`methods\`: leave \`splice\` out`,
    ]);
    const all = await loading({ "sallyport.yaml": OPEN, [FILE]: "methods: all\nsplice: [a.example]\n" });
    expect(all).toEqual(["ok", FILE]);
    const empty = await loading({ "sallyport.yaml": OPEN, [FILE]: "\n" });
    expect(empty).toEqual([`${FILE}:1:1 this is empty; write {} if nothing is required`]);
  });
});

describe("who could change them", () => {
  test("what others can write is refused, with what would mend it", async () => {
    const { load, cwd } = await fixture({ "sallyport.yaml": OPEN, [FILE]: "{}" });
    const [file, directory] = requiredIn(cwd);
    const told = async (): Promise<string[]> => lines(await loadConfig(load));
    for (const mode of [0o664, 0o646]) {
      await chmod(file, mode);
      expect(await told()).toEqual([`${FILE}:1:1 ${file} can be written by others: run chmod go-w ${file}`]);
    }
    await chmod(file, 0o644);
    expect(await told()).toEqual([]);
    for (const mode of [0o775, 0o757]) {
      await chmod(directory, mode);
      expect(await told()).toEqual([
        `${FILE}:1:1 ${directory} can be written by others: run chmod go-w ${directory}`,
      ]);
    }
    // Nobody takes away there what is another's.
    await chmod(directory, 0o1777);
    expect(await told()).toEqual([]);
  });

  test("every link on the way counts, and every directory that leads to one", async () => {
    const { cwd } = await fixture({ "real/file": "{}", "open/x": "", "shut/x": "" });
    const owner = process.getuid?.() ?? 0;
    await symlink("../real", join(cwd, "open/link"));
    await symlink("../real", join(cwd, "shut/link"));
    await symlink("../open/link/file", join(cwd, "shut/far"));
    await chmod(join(cwd, "open"), 0o777);
    expect(await exposed(join(cwd, "shut/link/file"), owner)).toBeUndefined();
    expect(await exposed(join(cwd, "open/link/file"), owner)).toContain(
      `run chmod go-w ${join(cwd, "open")}`,
    );
    expect(await exposed(join(cwd, "shut/far"), owner)).toContain(`run chmod go-w ${join(cwd, "open")}`);
    await rm(join(cwd, "real"), { recursive: true });
    expect(await exposed(join(cwd, "shut/link/file"), owner)).toBe(
      "the file cannot be read: it is not there",
    );
  });

  test("links that go in a circle, and what is no file, are no requirements", async () => {
    const { load, cwd } = await fixture({ "sallyport.yaml": OPEN });
    const [file, directory] = requiredIn(cwd);
    await mkdir(directory);
    await symlink(file, file);
    expect(lines(await loadConfig(load))).toEqual([
      `${FILE}:1:1 the file cannot be read: its links go in a circle`,
    ]);
    await rm(file);
    await mkdir(file);
    expect(lines(await loadConfig(load))).toEqual([`${FILE}:1:1 the file cannot be read: it is a directory`]);
  });

  // Needs the right to mount.
  test.skipIf(!mounts)(
    "modes that open a directory do not count on a file system that is read-only",
    async () => {
      const { cwd } = await fixture();
      execFileSync("mount", ["-t", "tmpfs", "-o", "mode=0755", "tmpfs", cwd]);
      try {
        // As a ConfigMap is mounted.
        await mkdir(join(cwd, "..2026"));
        await symlink("..2026", join(cwd, "..data"));
        await symlink("..data/requirements.yaml", join(cwd, "requirements.yaml"));
        await writeFile(join(cwd, "..2026/requirements.yaml"), "{}", { mode: 0o644 });
        await chmod(cwd, 0o777);
        const file = join(cwd, "requirements.yaml");
        expect(await exposed(file, 0)).toContain(`run chmod go-w ${cwd}`);
        execFileSync("mount", ["-o", "remount,ro", cwd]);
        expect(await exposed(file, 0)).toBeUndefined();
      } finally {
        execFileSync("umount", [cwd]);
      }
    },
  );

  // Only root gives files away.
  test.runIf(ROOT)(
    "what is neither root's nor the administrator's is refused: file, link or directory",
    async () => {
      const { load, cwd } = await fixture({ "sallyport.yaml": OPEN, "admin/there.yaml": "{}" });
      const [file, directory] = requiredIn(cwd);
      await symlink("there.yaml", file);
      const told = async (): Promise<string[]> => lines(await loadConfig(load));
      expect(await told()).toEqual([]);
      for (const path of [file, join(directory, "there.yaml"), directory]) {
        await lchown(path, 1234, 0);
        expect(await told()).toEqual([`${FILE}:1:1 ${path} is not root's: run chown root ${path}`]);
        const admins = { file, owner: 1234 };
        expect(lines(await loadConfig({ ...load, requirements: admins }))).toEqual([]);
        await lchown(path, 0, 0);
      }
    },
  );
});

describe("what exceeds them", () => {
  test("is told at the key that says it", async () => {
    const files = {
      "sallyport.yaml": `audit: { durability: process }
upstream:
  parent: { url: "http://p.example:8080", address: name }
  routes:
    - { host: a.example, parent: direct }
    - { host: b.example, parent: { url: "http://p.example:8080" } }
    - { host: c.example, parent: { url: "http://p.example:8080", address: name } }
anonymous: wide
policies:
  wide: { preset: all }
  listed:
    preset:
      - npm
      - mine
    mode: report-only
    methods: all
  ruled:
    allow:
      - ok.example
      - { host: gist.example, methods: [GET] }
      - { host: ok.example, methods: [GET, POST], networks: [10.0.0.0/8, 10.1.2.0/24] }
    tcp:
      - { host: ok.example, ports: [22] }
    splice: [other.example]
    budgets: { upload: 2GiB/day, hosts: 3, per_host: { "*.a.example": { requests: 11/hour } } }
`,
      "presets/mine.yaml": "name: mine\ndescription: mine\ninclude: [all]\n",
      [FILE]: `presets: [npm, mine]
methods: read-only
deny: [gist.example, 10.1.0.0/16]
mode: enforce
audit: { durability: disk }
budgets: { upload: 1GiB/day, hosts: 3, per_host: { "*.a.example": { requests: 10/hour } } }
`,
    };
    const by = (place: string): string => `(required by ${FILE}:${place})`;
    const limited = "only GET, HEAD, OPTIONS";
    const parent = `addresses that the parent proxy finds are not judged, and 10.1.0.0/16 is always denied ${by("3:22")}`;
    const errors = (await loading(files)).filter((line) => !line.includes(" warning: "));
    expect(errors).toEqual([
      `sallyport.yaml:1:22 the durability must be disk ${by("5:22")}`,
      `sallyport.yaml:3:52 ${parent}`,
      `sallyport.yaml:7:75 ${parent}`,
      `sallyport.yaml:10:19 preset "all" may not be used: only npm, mine ${by("1:10")}`,
      `sallyport.yaml:14:9 preset "all" may not be used: only npm, mine ${by("1:10")}`,
      `sallyport.yaml:15:11 the policy must be in the mode enforce ${by("4:7")}`,
      `sallyport.yaml:16:14 methods all may not be allowed: ${limited} ${by("2:10")}`,
      `sallyport.yaml:20:17 "gist.example" is always denied ${by("3:8")}`,
      `sallyport.yaml:21:38 methods POST may not be allowed: ${limited} ${by("2:10")}`,
      `sallyport.yaml:21:74 "10.1.2.0/24" is always denied ${by("3:22")}`,
      `sallyport.yaml:23:17 "ok.example" may not be passed unread: none may ${by("2:10")}`,
      `sallyport.yaml:24:14 "other.example" may not be passed unread: none may ${by("2:10")}`,
      `sallyport.yaml:25:24 the budget upload is greater than it may be ${by("6:20")}`,
      `sallyport.yaml:25:83 the budget requests is greater than it may be ${by("6:79")}`,
    ]);
  });

  test("a parent proxy may resolve names where no network is denied", async () => {
    const parent = 'upstream: { parent: { url: "http://p.example:8080", address: name } }\n';
    expect(await loading({ "sallyport.yaml": `${OPEN}${parent}`, [FILE]: "deny: [gist.example]" })).toEqual([
      "ok",
      FILE,
    ]);
  });

  test("the defaults are policies like any other", async () => {
    expect(await loading({ [FILE]: "presets: []\n" })).toEqual([
      `built-in:1:1 preset "npm" may not be used: none may (required by ${FILE}:1:10)`,
      `built-in:1:1 preset "pypi" may not be used: none may (required by ${FILE}:1:10)`,
    ]);
  });

  test("no rule is written that goes beyond them", async () => {
    const { load } = await fixture({ "sallyport.yaml": OPEN, [FILE]: "deny: [a.example]\n" });
    const rule = { policy: "default", port: 443, method: "GET", paths: ["/"], reason: "x", comment: "x" };
    expect(await writeRule(load, { ...rule, host: "a.example" }, { write: true })).toContain(
      `"a.example" is always denied (required by ${FILE}:1:8)`,
    );
    expect(await writeRule(load, { ...rule, host: "b.example" }, { write: true })).toBeUndefined();
  });
});

describe("over time", () => {
  async function reloading(files: Record<string, string>) {
    const { load, cwd, write } = await fixture(files);
    const [file] = requiredIn(cwd);
    const published: number[] = [];
    const publish = ({ generation }: { readonly generation: number }) => void published.push(generation);
    const reloader = new Reloader({ load, publish });
    const sources = (): readonly string[] =>
      reloader.current?.snapshot.ceilings.map((one) => one.requirements.source) ?? [];
    return { reloader, published, sources, write, file };
  }

  test("an invalid one changes nothing; a stricter one does not wait for the operator's file", async () => {
    const { reloader, published, sources, write } = await reloading({ "sallyport.yaml": OPEN });
    expect((await reloader.reload("start")).ok).toBe(true);
    expect(sources()).toEqual([]);
    await write(FILE, "hosts: a.example");
    expect(await reloader.reload("file")).toMatchObject({ ok: false, generation: 1 });
    await write(FILE, "hosts: []");
    await write("sallyport.yaml", "{");
    expect(await reloader.reload("file")).toMatchObject({ ok: false, generation: 2 });
    expect(sources()).toEqual([FILE]);
    expect(reloader.current?.requirements[0]?.hosts?.value).toEqual([]);
    // Told again, but the same.
    expect(await reloader.reload("file")).toMatchObject({ ok: false, generation: 2 });
    expect(published).toEqual([1, 2]);
  });

  test("what an invalid file names no more goes on holding, and a valid one takes it away", async () => {
    const named = `${OPEN}requirements: mine.yaml\n`;
    const { reloader, sources, write, file } = await reloading({
      "sallyport.yaml": named,
      "mine.yaml": "{}",
      [FILE]: "{}",
    });
    await reloader.reload("start");
    await write("sallyport.yaml", `${OPEN}unknown: 1\n`);
    await write(FILE, "deny: [a.example]");
    expect((await reloader.reload("file")).ok).toBe(false);
    expect(sources()).toEqual([FILE, "mine.yaml"]);
    expect(reloader.current?.requirements[0]?.deny).toHaveLength(1);
    await rm(file);
    await reloader.reload("file");
    expect(sources()).toEqual([FILE, "mine.yaml"]);
    await write("sallyport.yaml", OPEN);
    expect((await reloader.reload("file")).ok).toBe(true);
    expect(sources()).toEqual([]);
  });

  test("a durability that the log was not opened with asks for a restart", async () => {
    const { reloader, sources, write } = await reloading({ "sallyport.yaml": OPEN });
    await reloader.reload("start");
    await write(FILE, "audit: { durability: disk }\ndeny: [a.example]\n");
    await write("sallyport.yaml", `audit: { durability: disk }\n${OPEN}`);
    const outcome = await reloader.reload("file");
    expect([outcome.ok, ...outcome.diagnostics.map(formatDiagnostic)]).toEqual([
      false,
      `sallyport.yaml:1:10 restart: the audit log was opened with another durability than disk (required by ${FILE}:1:22)`,
    ]);
    // The rest of it holds.
    expect(sources()).toEqual([FILE]);
    const opened = new Reloader({ load: (await fixture()).load, publish: () => {} });
    expect((await opened.reload("start")).ok).toBe(true);
  });

  test("one that was opened with it goes on", async () => {
    const { reloader, write } = await reloading({
      "sallyport.yaml": `audit: { durability: disk }\n${OPEN}`,
      [FILE]: "audit: { durability: disk }\n",
    });
    await reloader.reload("start");
    await write("sallyport.yaml", `${OPEN}audit: { durability: disk }\n`);
    expect((await reloader.reload("file")).ok).toBe(true);
  });
});
