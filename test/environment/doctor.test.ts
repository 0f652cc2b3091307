// The doctor's script as text: whole, current with the table of variables, and readable to every shell that an image may have.

import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { doctorScript } from "../../src/environment/doctor.ts";
import { VARIABLES } from "../../src/environment/variables.ts";
import { findProgram } from "../support/programs.ts";

const script = doctorScript();

test.each([
  ["dash", ["-n"]],
  ["bash", ["-n"]],
  ["busybox", ["ash", "-n"]],
  ["shellcheck", ["-"]],
])("%s finds nothing wrong with it", (program, args) => {
  if (findProgram(program) === undefined && process.env["CI"] === undefined) return;
  expect(spawnSync(program, args, { input: script, encoding: "utf8" })).toMatchObject({
    status: 0,
    stdout: "",
    stderr: "",
  });
});

test("it knows how to set every variable, and asks for no other", () => {
  const names = VARIABLES.flatMap((variable) => variable.names);
  const known = [...script.matchAll(/^ {4}(\w+)\) printf/gm)].map(([, name]) => name);
  expect(known).toEqual(names);
  const asked = [...script.matchAll(/^ *client \S+ \S+ ('[^']*'|\w+)/gm)].flatMap(([, found = ""]) =>
    found.replaceAll("'", "").split(" "),
  );
  expect(asked.length).toBeGreaterThan(10);
  expect(asked.filter((name) => name !== "" && !names.includes(name))).toEqual([]);
});

test("what is set for a proxy variable is the name of another, never its value", () => {
  const input = `${script.slice(0, script.lastIndexOf("\nmain\n"))}
known_proxy="\\"\\$HTTPS_PROXY\\""
for name in HTTP_PROXY https_proxy NODE_USE_ENV_PROXY WGETRC; do fix $name; echo; done`;
  const env = { PATH: process.env["PATH"], HTTPS_PROXY: "http://one:a-secret@192.0.2.1:3128" };
  expect(spawnSync("sh", { input, env, encoding: "utf8" }).stdout).toBe(
    'export HTTP_PROXY="$HTTPS_PROXY"\nexport https_proxy="$HTTPS_PROXY"\nexport NODE_USE_ENV_PROXY=1\nexport WGETRC=/etc/sallyport/wgetrc\n',
  );
});
