import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Argument, Command, Option } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { completionScript } from "../../src/cli/completion.ts";

const program = new Command("sallyport")
  .helpCommand(false)
  .option("-c, --config <file>", "the operator's file");
const env = program.command("env").description("it's a shell's");
env.addOption(new Option("--format <format>", "form").choices(["shell", "json"])).option("--json", "as JSON");
const ca = program.command("ca").helpCommand(false).description("the CA");
ca.command("show").description("shows");
ca.command("rotate").description("rotates");
program.command("completion").addArgument(new Argument("<shell>").choices(["bash", "zsh"]));

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "sallyport-completion-"));
  mkdirSync(join(root, "directory"));
  writeFileSync(join(root, "file.yaml"), "");
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("bash", () => {
  test.each<[words: string[], expected: string[]]>([
    [[""], ["env", "ca", "completion", "--config", "--help", "-c", "-h"]],
    [["e"], ["env"]],
    [
      ["ca", ""],
      ["show", "rotate", "--config", "--help", "-c", "-h"],
    ],
    [["ca", "r"], ["rotate"]],
    [["env", "--f"], ["--format"]],
    [
      ["env", "--format", ""],
      ["shell", "json"],
    ],
    [["env", "--format", "j"], ["json"]],
    [["env", "--format", "shell", "--j"], ["--json"]],
    [["--config", "x.yaml", "ca", "s"], ["show"]],
    // Left to readline, which completes file names.
    [["--config", ""], []],
    [["completion", "b"], ["bash"]],
    // `ca` here is the value of an option, and `show` no command of the program.
    [["show", "r"], []],
  ])("%j", (words, expected) => {
    expect(complete(words).toSorted()).toEqual(expected.toSorted());
  });

  test("is registered with file names as the default", () => {
    const script = completionScript("bash", program);
    const out = execFileSync("bash", ["-c", `source <(cat); complete -p sallyport`], {
      input: script,
      encoding: "utf8",
    });
    expect(out).toBe("complete -o default -F _sallyport sallyport\n");
  });
});

describe.each(["zsh", "fish"] as const)("%s", (shell) => {
  // Neither is on every machine; what can be said without them is that the tree is there.
  test("names every command, option and choice", () => {
    const script = completionScript(shell, program);
    for (const word of ["env", "ca", "show", "rotate", "completion", "format", "config", "json"])
      expect(script).toContain(word);
    expect(script).toContain(String.raw`it'\''s a shell'\''s`);
  });

  test.runIf(installed(shell))("parses", () => {
    execFileSync(shell, ["-n"], { input: completionScript(shell, program) });
  });
});

function complete(words: readonly string[]): string[] {
  const program_ = `source "$SCRIPT"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sallyport; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const script = join(root, "completion.bash");
  writeFileSync(script, completionScript("bash", program));
  const out = execFileSync("bash", ["-c", program_, "bash", "sallyport", ...words], {
    cwd: root,
    env: { ...process.env, SCRIPT: script },
    encoding: "utf8",
  });
  return out.split("\n").filter((line) => line !== "");
}

function installed(shell: string): boolean {
  try {
    execFileSync(shell, ["-c", "exit 0"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
