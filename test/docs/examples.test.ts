// Every sallyport.yaml and every `sallyport …` command that the documentation shows: the one loads, the other runs, in a
// directory that has the operator's file of docs/configuration.md and an audit log. README's session is in readme.test.ts.

import { execFile } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openAudit } from "../../src/audit/log.ts";
import { buildProgram } from "../../src/cli/main.ts";
import { processContext } from "../../src/cli/context.ts";
import { loadConfig } from "../../src/config/load.ts";
import { configSchema } from "../../src/config/schema.ts";
import { type Block, blocksOf, documents, readText, ROOT } from "./markdown.ts";

const all = documents().flatMap(blocksOf);
const files = all.filter((block) => block.language === "yaml" && isConfiguration(block));
const operators = files.find(({ file }) => file === "docs/configuration.md");
const commands = all.filter(({ language }) => language === "sh").flatMap(runnable);
const ENV = {
  CI_RUNNER_TOKEN: "correct-horse-battery",
  BUILDER_TOKEN: "another-horse-battery",
  PROXY_PASSWORD: "p@ss/word",
  STORE_PASSWORD: "p@ss/word",
  GITHUB_TOKEN: "correct-horse-battery",
};

const place = mkdtempSync(join(tmpdir(), "sallyport-examples-"));
afterAll(() => rmSync(place, { recursive: true, force: true }));

test.each(files.map((block) => ({ name: `${block.file}:${block.line}`, block })))(
  "the file at $name loads",
  async ({ block }) => {
    const cwd = mkdtempSync(join(place, "file-"));
    mkdirSync(join(cwd, "presets"));
    writeFileSync(
      join(cwd, "presets", "my-company.yaml"),
      "name: my-company\ndescription: Ours\nhosts: []\n",
    );
    writeFileSync(join(cwd, "sallyport.yaml"), block.text);
    const loaded = await loadConfig({ cwd, env: ENV });
    const errors = loaded.ok ? [] : loaded.diagnostics.filter(({ severity }) => severity === "error");
    // Files that only a machine of the operator's has.
    expect(errors.filter(({ message }) => !message.endsWith(": it is not there"))).toEqual([]);
  },
);

describe("commands", () => {
  const cwd = join(place, "commands");
  const bin = join(place, "bin");

  beforeAll(async () => {
    mkdirSync(cwd);
    mkdirSync(bin);
    mkdirSync(join(cwd, "safe"));
    writeFileSync(join(cwd, "sallyport.yaml"), operators?.text ?? "");
    script(join(bin, "sallyport"), `exec "${process.execPath}" "${join(ROOT, "src/cli/main.ts")}" "$@"`);
    for (const engine of ["docker", "podman"])
      script(join(bin, engine), 'case "$*" in *--mount*ca.pem* | compose*) ;; *) exit 9 ;; esac');
    const directory = join(cwd, "data", "audit");
    const log = await openAudit({ directory, durability: "process", ...ROTATION });
    log.note("start", { version: "0" });
    await log.close();
    copyFileSync(join(directory, "audit.pub"), join(cwd, "safe", "audit.pub"));
  });

  test.each(commands)(
    "%s",
    async (_, command) => {
      const env = { ...ENV, HOME: cwd, PATH: `${bin}:${process.env["PATH"]}` };
      const here = command.replaceAll("npx sallyport", "sallyport").replaceAll("/safe/", "safe/");
      const { status, stderr } = await bash(here, { cwd, env });
      expect(stderr).not.toContain("defect");
      expect({ status, stderr }).toEqual({ status: /\bexplain\b/.test(command) ? status : 0, stderr });
      expect([0, EXPLAINED_DENIAL]).toContain(status);
    },
    60_000,
  );

  test("in the text, too, they are commands that there are", () => {
    const known = buildProgram(processContext()).commands.map((command) => command.name());
    const named = documents().flatMap((file) =>
      [...readText(file).matchAll(/`(?:npx )?sallyport ([a-z]+)/g)].map(([, name = ""]) => name),
    );
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !known.includes(name))).toEqual([]);
  });

  test("there are some", () => {
    expect(commands.length).toBeGreaterThan(5);
    expect(existsSync(join(cwd, "sandbox", "ca.pem"))).toBe(true);
  });
});

/** It has a key of the operator's file, and not of a preset's or of another program's. */
function isConfiguration({ file, text }: Block): boolean {
  // Requirements, which have keys of the same name.
  if (file === "docs/requirements.md") return false;
  const keys = [...text.matchAll(/^([a-z_]+):/gm)].map(([, key = ""]) => key);
  return keys.some((key) => key in configSchema.shape);
}

/** Those that end by themselves and change nothing that matters here. */
function runnable({ file, line, text }: Block): [name: string, command: string][] {
  return text
    .replaceAll("\\\n", " ")
    .split("\n")
    .filter((command) => /(?:^|[\s(])sallyport [a-z]/.test(command))
    .filter((command) => !/--follow|\bsallyport run\b/.test(command))
    .map((command) => [`${file}:${line} ${command}`, command]);
}

function script(path: string, body: string): void {
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
}

function bash(
  command: string,
  options: { cwd: string; env: Record<string, string> },
): Promise<{ status: number | string | undefined; stderr: string }> {
  return new Promise((resolve) => {
    execFile("bash", ["-c", `set -e -o pipefail; ${command}`], options, (error, _, stderr) =>
      resolve({ status: error === null ? 0 : (error.code ?? undefined), stderr }),
    );
  });
}

const EXPLAINED_DENIAL = 3;
const ROTATION = { rotate: { octets: 1 << 20, daily: true }, privacy: "standard" } as const;
