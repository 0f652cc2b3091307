import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";

import { directory, LAUNCHER, MAIN, sallyport, sallyportHere } from "./support.ts";

const cwd = directory();

describe("help", () => {
  test.each([
    ["program", []],
    ["run", ["run"]],
    ["check", ["check"]],
    ["explain", ["explain"]],
    ["env", ["env"]],
    ["doctor", ["doctor"]],
    ["ca", ["ca"]],
    ["ca-rotate", ["ca", "rotate"]],
    ["presets", ["presets"]],
    ["audit", ["audit"]],
    ["audit-tail", ["audit", "tail"]],
    ["audit-verify", ["audit", "verify"]],
    ["sandbox", ["sandbox"]],
    ["sandbox-register", ["sandbox", "register"]],
    ["approvals", ["approvals"]],
    ["approvals-allow", ["approvals", "allow"]],
    ["grant", ["grant"]],
    ["grant-create", ["grant", "create"]],
    ["lockdown", ["lockdown"]],
    ["token", ["token"]],
    ["completion", ["completion"]],
  ])("of %s", async (name, command) => {
    const ended = await sallyportHere([...command, "--help"], { cwd });
    expect({ ...ended, stdout: "" }).toEqual({ status: 0, stdout: "", stderr: "" });
    await expect(ended.stdout).toMatchFileSnapshot(
      join(import.meta.dirname, `../golden/cli/help-${name}.txt`),
    );
  });
});

describe("wrong usage exits 2, says what is wrong on stderr and nothing on stdout", () => {
  test.each([
    [["frob"], "sallyport: unknown command 'frob'\n"],
    [["chekc"], "sallyport: unknown command 'chekc'\n(Did you mean check?)\n"],
    [["check", "--jsno"], "sallyport: unknown option '--jsno'\n(Did you mean --json?)\n"],
    [["check", "a", "b"], "sallyport: too many arguments for 'check'. Expected 1 argument but got 2"],
    [
      ["env", "--format", "xml"],
      "sallyport: option '--format <format>' argument 'xml' is invalid. Allowed choices are shell,",
    ],
    [
      ["completion", "csh"],
      "sallyport: command-argument value 'csh' is invalid for argument 'shell'. Allowed choices are bash,",
    ],
    [["ca", "rotate", "--config"], "sallyport: option '-c, --config <file>' argument missing\n"],
    [[], "Usage: sallyport [options] [command]\n"],
    [["ca"], "Usage: sallyport ca [options] [command]\n"],
  ])("%j", async (args, message) => {
    const { status, stdout, stderr } = await sallyportHere(args, { cwd });
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(message);
  });
});

test("a child that is used wrongly exits 2", () => {
  expect(sallyport(["frob"], { cwd })).toMatchObject({ status: 2, stdout: "" });
});

test("--version is the package's", () => {
  expect(sallyport(["--version"], { cwd })).toEqual({ status: 0, stdout: "0.1.0\n", stderr: "" });
});

test("--config is understood before and after the command", async () => {
  const before = await sallyportHere(["--config", "none.yaml", "presets", "list"], { cwd });
  const after = await sallyportHere(["presets", "list", "--config", "none.yaml"], { cwd });
  expect(before).toEqual(after);
  expect(before.status).toBe(1);
  expect(before.stderr).toContain("none.yaml:1:1 the file cannot be read: ");
});

test("colour only where it is asked for, or a terminal is there", () => {
  const args = ["presets", "list"];
  expect(sallyport(args, { cwd }).stdout).not.toContain("\u001B[");
  expect(sallyport(args, { cwd, env: { FORCE_COLOR: "1" } }).stdout).toContain("\u001B[");
  expect(sallyport(args, { cwd, env: { NO_COLOR: "1" } }).stdout).not.toContain("\u001B[");
});

test("a reader that has enough ends it quietly", () => {
  const script = `"$NODE" "$MAIN" presets show common-dependencies | head -1 >/dev/null; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = spawnSync("bash", ["--norc", "-c", script], {
    cwd,
    env: { PATH: process.env["PATH"], HOME: cwd, NODE: process.execPath, MAIN },
    encoding: "utf8",
  });
  expect({ stdout, stderr }).toEqual({ stdout: "0\n", stderr: "" });
});

describe("the launcher", () => {
  test("runs the sources of a clone", () => {
    const { status, stdout } = spawnSync(process.execPath, [LAUNCHER, "--version"], {
      cwd,
      encoding: "utf8",
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "0.1.0\n" });
  });

  test("passes the exit code on", () => {
    expect(spawnSync(process.execPath, [LAUNCHER, "frob"], { cwd }).status).toBe(2);
  });

  // The machine's own Node, if there is one that is too old.
  const old = ["/usr/bin/node", "/usr/local/bin/node"].find((path) => {
    if (!existsSync(path)) return false;
    const { stdout } = spawnSync(path, ["-p", "process.versions.node"], { encoding: "utf8" });
    return Number.parseInt(stdout, 10) < 24;
  });
  test.runIf(old !== undefined)("hands over to the pinned Node from an older one", () => {
    const at = (args: string[], env = {}) =>
      spawnSync(old ?? "", [LAUNCHER, ...args], {
        cwd,
        encoding: "utf8",
        env: { PATH: "/usr/bin:/bin", ...env },
      });
    expect(at(["--version"])).toMatchObject({ status: 0, stdout: "0.1.0\n", stderr: "" });
    expect(at(["frob"]).status).toBe(2);
    const nowhere = at(["--version"], { SALLYPORT_LAUNCHED: "1" });
    expect(nowhere.status).toBe(1);
    expect(nowhere.stderr).toMatch(/^sallyport: needs Node 24 or newer, and this is v/);
  });

  test.runIf(old !== undefined)("passes signals on to it", async () => {
    const at = directory("listen: 127.0.0.1:0\nadmin: false\nanonymous: default\n");
    const child = spawn(old ?? "", [LAUNCHER, "run"], { cwd: at, env: { PATH: "/usr/bin:/bin" } });
    for await (const line of createInterface({ input: child.stderr })) if (line.includes("listening")) break;
    child.stderr.resume();
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});
