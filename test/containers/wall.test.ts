// examples/container with a real engine: the network, the proxy in its container, a command behind the wall, and what is left.

import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeContainers, startEngine, type Engine, type Ran } from "../support/containers.ts";

const RUN = fileURLToPath(new URL("../../examples/container/run.sh", import.meta.url));

describeContainers("examples/container", () => {
  let engine: Engine;
  let image: string;

  beforeAll(async () => {
    engine = await startEngine();
    image = await engine.sallyport();
  }, 300_000);
  afterAll(() => engine?.[Symbol.asyncDispose](), 60_000);

  function run(script: string): Promise<Ran> {
    const cwd = join(engine.directory, "work");
    mkdirSync(cwd, { recursive: true });
    const env = { ...engine.variables, ENGINE: "podman", SALLYPORT_IMAGE: image };
    return new Promise((resolve) => {
      execFile(
        RUN,
        ["localhost/sandbox", "sh", "-c", script],
        { cwd, env, timeout: 100_000 },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === "number" ? error.code : null;
          resolve({ code, stdout, stderr });
        },
      );
    });
  }

  test("a command behind the wall reaches the proxy, is refused by it, and nothing else is there", async () => {
    const script = `
      curl -sS -o /dev/null -w '%{http_code}\\n' https://sallyport.internal/
      curl -sS -o /dev/null -w '%{http_connect}\\n' https://attacker.example/
      curl -sS -m 3 --noproxy '*' http://198.51.100.7/ || echo no way out
      getent hosts attacker.example || echo no name
      touch made; exit 7`;
    const { code, stdout, stderr } = await run(script);
    expect(stdout.trim().split("\n"), stderr).toEqual(["200", "403", "no way out", "no name"]);
    expect(code).toBe(7);
    expect(stderr).toMatch(/deny.*CONNECT attacker\.example:443 {2}host-not-allowed/);
    expect(await engine.podman(["ps", "--all", "--quiet"])).toBe("");
    expect(await engine.podman(["network", "ls", "--format", "{{.Name}}"])).toBe("podman");
    expect(await engine.podman(["volume", "ls", "--format", "{{.Name}}"])).toBe("sallyport");
  }, 120_000);
});
