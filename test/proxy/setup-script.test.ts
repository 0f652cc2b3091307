import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

import { runSallyport } from "../support/sallyport.ts";
import { dialPort } from "./wire.ts";
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

test.each(["debian", "alpine", "rhel"] as const)(
  "the proxy serves the script for %s, and records it",
  async (system) => {
    await using one = await runSallyport(
      'transparent: [{ listen: "127.0.0.1:0", port: 80 }]\nanonymous: default\n',
    );
    await using wire = await dialPort(one.sallyport.transparent[0]?.port ?? 0);
    wire.write(`GET /setup/${system} HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n`);
    expect((await wire.answer()).body).toBe(setupScript(system, one.trustAnchor));
    await one.recorded((all) => all.some(({ type }) => type === "completion"));
  },
);
