import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

import { setupScript } from "../../src/proxy/setup-script.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

test.each(["debian", "alpine", "rhel"] as const)("the script for %s is one that dash reads", (system) => {
  const script = setupScript(system, PEM);
  expect(spawnSync("dash", ["-n"], { input: script, encoding: "utf8" })).toMatchObject({
    status: 0,
    stderr: "",
  });
  expect(script).toContain(PEM);
});
