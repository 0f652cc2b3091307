// Where the values of secrets come from: what is read and run, what is not, and that no message tells what it was.

import { chmod, mkdir, realpath, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { loadConfig } from "../../src/config/load.ts";
import { fixture } from "./fixture.ts";

const policy = (source: string, as = "bearer"): string =>
  `anonymous: default\npolicies:\n  default:\n    secrets:\n      - { name: one, ${source}, hosts: [a.example], as: ${as} }\n`;

async function secretOf(
  source: string,
  {
    files = {},
    commands = true,
    as,
  }: { files?: Record<string, string>; commands?: boolean; as?: string } = {},
) {
  const { load, cwd } = await fixture({ "sallyport.yaml": policy(source, as), ...files });
  const loaded = await loadConfig({ ...load, env: { ...load.env, PATH: process.env["PATH"] }, commands });
  const value = loaded.ok ? loaded.policies[0]?.secrets?.[0]?.value.reveal() : undefined;
  return { loaded, cwd, value, said: (loaded.ok ? [] : loaded.diagnostics).map(formatDiagnostic).join("\n") };
}

test("a file says it, less the end of its last line; it is watched, and no sandbox is to see it", async () => {
  const { loaded, value, cwd } = await secretOf("file: secrets/token", {
    files: { "secrets/token": "from-the-file\n" },
  });
  expect(value).toBe("from-the-file");
  const files = [join(cwd, "secrets/token")];
  expect(loaded.files).toEqual(expect.arrayContaining(files));
  expect(loaded.ok && loaded.config.secrets.files).toEqual([...files, join(cwd, "sallyport.yaml")]);
});

test("a command prints it, in the directory of the file and with the proxy's environment", async () => {
  const { value, cwd } = await secretOf(`command: [sh, -c, "printf '%s-%s' \\"$PWD\\" $TOKEN"]`);
  expect(value).toBe(`${await realpath(cwd)}-correct-horse-battery`);
});

test("a command is not run where the configuration is not to hold", async () => {
  const marked = `command: [sh, -c, "touch ran; echo 0123456789"]`;
  expect((await secretOf(marked, { commands: false })).value).toMatch(/^x+$/);
});

test.each([
  ["file: nowhere", "5:28 the file cannot be read: it is not there"],
  ["file: .", "5:28 the file cannot be read: it is a directory"],
  ["file: short", "5:28 a secret has at least 8 characters"],
  ["file: lines", "5:28 a secret is of visible ASCII characters, without blanks or line ends"],
  [
    `command: [sh, -c, "echo s3cr3t-on-stderr >&2; exit 3"]`,
    "5:31 the command ended with code 3; run it by itself to see what it says",
  ],
  [
    "command: [no-such-program]",
    "5:31 the command cannot be run: it is not there; run it by itself to see what it says",
  ],
  [
    `command: [sh, -c, "yes s3cr3t-many | head -c 99999"]`,
    "5:31 the command printed too much; run it by itself to see what it says",
  ],
  [
    `command: [sh, -c, "echo s3cr3t two"]`,
    "5:31 a secret is of visible ASCII characters, without blanks or line ends",
  ],
  [`command: ["true"]`, "5:31 a secret has at least 8 characters"],
])("%s: no secret", async (source, said) => {
  const files = { short: "abc", lines: "s3cr3t-one\ns3cr3t-two\n" };
  const found = await secretOf(source, { files });
  expect(found.said).toBe(`sallyport.yaml:${said}`);
  expect(JSON.stringify(found.loaded)).not.toContain("s3cr3t-one");
});

test("a password that is told apart is as long as any secret", async () => {
  expect((await secretOf("file: pair", { files: { pair: "a-long-user:abc" }, as: "basic" })).said).toBe(
    "sallyport.yaml:5:28 a secret has at least 8 characters",
  );
  expect((await secretOf("file: pair", { files: { pair: "user:password" }, as: "basic" })).value).toBe(
    "user:password",
  );
});

test("a file that cannot be read by its mode is an error, not an empty secret", async () => {
  const { load, cwd, write } = await fixture({ "sallyport.yaml": policy("file: token") });
  await write("token", "from-the-file");
  await chmod(join(cwd, "token"), 0);
  const loaded = await loadConfig(load);
  // Root reads everything.
  expect(loaded.ok).toBe(process.getuid?.() === 0);
});

test("a link that is swapped under it is followed", async () => {
  const { load, cwd } = await fixture({ "sallyport.yaml": policy("file: token") });
  await mkdir(join(cwd, "v1"));
  await writeFile(join(cwd, "token.new"), "the-second-one");
  await writeFile(join(cwd, "token"), "the-first-one");
  const value = async () => {
    const loaded = await loadConfig(load);
    return loaded.ok ? loaded.policies[0]?.secrets?.[0]?.value.reveal() : undefined;
  };
  expect(await value()).toBe("the-first-one");
  await rename(join(cwd, "token.new"), join(cwd, "token"));
  expect(await value()).toBe("the-second-one");
});

test("the shortest period of all holds", async () => {
  const { load } = await fixture({
    "sallyport.yaml": `anonymous: default
policies:
  default:
    secrets:
      - { name: one, command: ["true"], every: 1h, hosts: [a.example], as: bearer }
      - { name: two, command: ["true"], every: 2m, hosts: [b.example], as: bearer }
`,
  });
  const loaded = await loadConfig(load);
  expect(loaded.ok && loaded.config.secrets.everyMs).toBe(120_000);
});
