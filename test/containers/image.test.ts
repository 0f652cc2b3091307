// The image, built from the Dockerfile and run as it should be run: read-only, without root, capabilities or privileges.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { NODE_FLAGS } from "../../scripts/node-flags.ts";
import { describeContainers, startEngine, type Engine, type Ran } from "../support/containers.ts";
import { npmDefaultRegistry, npmRegistry } from "../clients/machine.ts";

describeContainers("the image", () => {
  let engine: Engine;
  let image: string;

  beforeAll(async () => {
    engine = await startEngine();
    image = await engine.build();
  }, 300_000);
  afterAll(() => engine?.[Symbol.asyncDispose](), 60_000);
  afterEach(() => engine.clear());

  /** As its users should run it; `options` for podman beside those. */
  function start(name: string, options: readonly string[] = []): Promise<string> {
    const hardened = ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL"];
    const where = ["--network", "none", "--security-opt", "no-new-privileges"];
    const state = ["--volume", `${name}:/var/lib/sallyport`];
    return engine.podman([
      "run",
      "--detach",
      "--name",
      name,
      ...where,
      ...hardened,
      ...state,
      ...options,
      image,
    ]);
  }
  const cli = (container: string, args: readonly string[]): Promise<string> =>
    engine.podman(["exec", container, ...CLI, ...args]);
  const exitCode = async (container: string): Promise<number> =>
    Number(await engine.podman(["wait", container]));

  test("is Node, its libraries and the build, and not much larger than Node", async () => {
    const [about] = JSON.parse(await engine.podman(["image", "inspect", image])) as [Inspected];
    expect(about.Config).toMatchObject({
      User: "65532:65532",
      WorkingDir: "/etc/sallyport",
      Entrypoint: [NODE, ...NODE_FLAGS, MAIN],
      Cmd: ["run"],
      StopSignal: "SIGTERM",
      Volumes: { "/var/lib/sallyport": {} },
    });
    expect(about.Healthcheck.Test[0]).toBe("CMD");
    const node = Number(await engine.podman(["run", "--rm", "localhost/base", "stat", "-c", "%s", NODE]));
    expect(about.Size).toBeLessThan(node + 40 * 1024 * 1024);
  });

  test("keeps nothing of where it was built in its layers", async () => {
    const archive = join(engine.directory, "image.tar");
    await engine.podman(["save", "--quiet", "--format", "docker-dir", "--output", archive, image]);
    const layers = JSON.parse(await readFile(join(archive, "manifest.json"), "utf8")) as Manifest;
    const files = [layers.config, ...layers.layers].map(({ digest }) =>
      join(archive, digest.replace("sha256:", "")),
    );
    const secret = /_auth(Token)?\s*=|\/run\/secrets\/ca/;
    for (const file of files) {
      const listed = file === files[0] ? "" : execFileSync("tar", ["-tf", file], { encoding: "utf8" });
      expect(listed).not.toMatch(/npmrc|run\/secrets|\.npm\//);
    }
    const tree = join(engine.directory, "tree.tar");
    await engine.podman(["create", "--name", "kept", image]);
    await engine.podman(["export", "--output", tree, "kept"]);
    const config = await readFile(files[0] ?? "", "utf8");
    const registry = npmRegistry().hostname;
    for (const text of [config, (await readFile(tree)).toString("latin1")]) {
      expect(secret.test(text.replaceAll(DOCUMENTED, ""))).toBe(false);
      // Packages name npm's own themselves, whichever registry they came from.
      if (registry !== npmDefaultRegistry().hostname) expect(text.includes(registry)).toBe(false);
    }
  });

  test("runs read-only and without root, and serves", async () => {
    await start("first");
    await engine.healthy("first");
    const script = await readFile(new URL("image-inside.js", import.meta.url), "utf8");
    expect(await engine.podman(["exec", "--interactive", "first", NODE, "-"], { stdin: script })).toBe(
      "done",
    );
    expect(await cli("first", ["check"])).toContain("valid");
    expect(await cli("first", ["audit", "verify"])).toMatch(/^whole: /);
    const anchor = await cli("first", ["ca", "show"]);
    await engine.podman(["stop", "--time", "40", "first"]);
    expect(await exitCode("first")).toBe(0);
    await engine.podman(["rm", "first"]);
    await start("first");
    await engine.healthy("first");
    expect(await cli("first", ["ca", "show"])).toBe(anchor);
  });

  test("as PID 1 it lets exchanges end at SIGTERM, takes no more, and ends with 0", async () => {
    await configured("draining");
    const half = await readFile(new URL("half-way.js", import.meta.url), "utf8");
    const beside = ["--network", "container:draining", "--interactive"];
    const client = engine.run(["run", "--name", "client", ...beside, "localhost/base", "node", "-"], {
      stdin: half,
    });
    await logs("client", /\/first half/);
    await engine.podman(["kill", "--signal", "TERM", "draining"]);
    await logs("draining", /draining/);
    await engine.podman(["kill", "--signal", "USR2", "client"]);
    await logs("client", /\/second/);
    await engine.podman(["kill", "--signal", "USR1", "client"]);
    expect((await client).stdout.trim().split("\n")).toEqual([
      "/first half",
      "/second 503 draining",
      "/first done",
    ]);
    expect(await exitCode("draining")).toBe(0);
    expect((await logged("draining")).stderr).toMatch(/"msg":"stopped"/);
  });

  test("as PID 1 it does not wait at the second signal", async () => {
    await configured("impatient");
    const half = await readFile(new URL("half-way.js", import.meta.url), "utf8");
    const beside = ["--network", "container:impatient", "--interactive"];
    const client = engine.run(["run", "--name", "client", ...beside, "localhost/base", "node", "-"], {
      stdin: half,
    });
    await logs("client", /\/first half/);
    await engine.podman(["kill", "--signal", "TERM", "impatient"]);
    await logs("impatient", /draining/);
    await engine.podman(["kill", "--signal", "INT", "impatient"]);
    expect(await exitCode("impatient")).toBe(1);
    await engine.podman(["kill", "client"]);
    await client;
  });

  test("is not healthy, and ends with 1, where its file is not valid", async () => {
    const file = join(engine.directory, "wrong.yaml");
    await writeFile(file, "policies: { default: { mehtods: all } }\n");
    await start("wrong", ["--volume", `${file}:/etc/sallyport/sallyport.yaml:ro`]);
    expect(await exitCode("wrong")).toBe(1);
    expect((await logged("wrong")).stderr).toContain('did you mean "methods"?');
  });

  /** With an origin that is in the same network namespace. */
  async function configured(name: string): Promise<void> {
    const directory = join(engine.directory, name);
    await mkdir(join(directory, "presets"), { recursive: true });
    await writeFile(join(directory, "sallyport.yaml"), WITH_ORIGIN);
    await start(name, ["--volume", `${directory}:/etc/sallyport:ro`]);
    await engine.healthy(name);
  }
  function logged(container: string): Promise<Ran> {
    return engine.run(["logs", container]);
  }
  async function logs(container: string, what: RegExp): Promise<void> {
    await expect
      .poll(async () => {
        const { stdout, stderr } = await logged(container);
        return stdout + stderr;
      })
      .toMatch(what);
  }
});

type Inspected = {
  readonly Size: number;
  readonly Config: Readonly<Record<string, unknown>>;
  readonly Healthcheck: { readonly Test: readonly string[] };
};
type Manifest = { readonly config: { digest: string }; readonly layers: readonly { digest: string }[] };

const NODE = "/usr/local/bin/node";
const MAIN = "/opt/sallyport/dist/cli/main.js";
const CLI = [NODE, MAIN];
/** As the history of the image has it. */
const DOCUMENTED = "NPM_CONFIG_USERCONFIG=/run/secrets/npmrc";
const WITH_ORIGIN = `
listen: [127.0.0.1:3128]
admin: { listen: 127.0.0.1:9128, socket: /var/lib/sallyport/admin.sock }
log: { format: json }
certs: /var/lib/sallyport/certs
audit: { directory: /var/lib/sallyport/audit }
store: /var/lib/sallyport/sallyport.db
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { preset: none, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`;
