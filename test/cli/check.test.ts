import { join } from "node:path";
import { describe, expect, test } from "vitest";

import { directory, sallyport, sallyportHere } from "./support.ts";

const WRONG = `listen: 127.0.0.1:99999
polices: {}
policies:
  default:
    preset: nmp
    methods: [get]
`;
const DOUBTFUL = `anonymous: default
policies:
  default: { allow: ["**.github.io"] }
`;

describe("check", () => {
  test("no file at all is valid", () => {
    expect(sallyport(["check"], { cwd: directory() })).toEqual({
      status: 0,
      stdout: "valid: there is no file, so the defaults hold\n",
      stderr: "",
    });
  });

  test("every error at once, with its place", async () => {
    const cwd = directory(WRONG);
    const ended = sallyport(["check"], { cwd });
    expect(ended.status).toBe(1);
    expect(ended.stdout).toMatch(/^sallyport\.yaml:1:9 /m);
    expect(ended.stdout).toMatch(
      /^sallyport\.yaml:2:1 unknown key "polices" \(did you mean "policies"\?\)$/m,
    );
    await expect(ended.stdout).toMatchFileSnapshot(
      join(import.meta.dirname, "../golden/cli/check-wrong.txt"),
    );
  });

  test("warnings are no failure", async () => {
    const { status, stdout } = await sallyportHere(["check"], { cwd: directory(DOUBTFUL) });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^sallyport\.yaml:3:22 warning: /);
    expect(stdout).toMatch(/\nvalid: 1 warning\n$/);
  });

  test.each([
    ["by argument", ["check", "other.yaml"]],
    ["by --config", ["check", "--config", "other.yaml"]],
    ["by both, the argument counts", ["check", "other.yaml", "--config", "sallyport.yaml"]],
  ])("a file named %s", async (_how, args) => {
    const { status, stdout } = await sallyportHere(args, { cwd: directory("{}") });
    expect({ status, stdout }).toEqual({
      status: 1,
      stdout: "other.yaml:1:1 the file cannot be read: it is not there\nnot valid: 1 error\n",
    });
  });

  test("says what it is held to, and what is beyond that", async () => {
    const env = {
      SALLYPORT_REQUIREMENTS_BASE64: Buffer.from("methods: read-only\nintents: [git-fetch]").toString(
        "base64",
      ),
    };
    const good = await sallyportHere(["check"], { cwd: directory("anonymous: default\n"), env });
    expect(good).toMatchObject({
      status: 0,
      stdout: "valid\nheld to what is required by SALLYPORT_REQUIREMENTS_BASE64\n",
    });
    const cwd = directory("anonymous: default\npolicies: { default: { methods: all } }\n");
    const { status, stdout } = await sallyportHere(["check", "--json"], { cwd, env });
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      requirements: ["SALLYPORT_REQUIREMENTS_BASE64"],
      diagnostics: [
        {
          line: 2,
          column: 33,
          message:
            "methods all may not be allowed: only GET, HEAD, OPTIONS (required by SALLYPORT_REQUIREMENTS_BASE64:1:10)",
        },
      ],
    });
  });

  test("--json", () => {
    const cwd = directory("listen: 5\nanonymous: default\n");
    const { status, stdout } = sallyport(["check", "--json"], { cwd });
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toEqual({
      valid: false,
      file: join(cwd, "sallyport.yaml"),
      requirements: [],
      diagnostics: [
        { file: "sallyport.yaml", line: 1, column: 9, severity: "error", message: expect.any(String) },
      ],
    });
  });

  test("other commands refuse an invalid file with the same lines", async () => {
    const cwd = directory(WRONG);
    const checked = await sallyportHere(["check"], { cwd });
    const lines = checked.stdout.split("\n").slice(0, -2).join("\n");
    const { status, stdout, stderr } = await sallyportHere(["env"], { cwd });
    expect({ status, stdout, stderr }).toEqual({
      status: 1,
      stdout: "",
      stderr: `sallyport: the configuration is not valid:\n${lines}\n`,
    });
  });
});
