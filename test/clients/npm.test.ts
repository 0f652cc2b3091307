// npm against the registry that this machine is set up for, and against one of ours that writes down what it gets.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { allowRule, npmRegistry } from "./machine.ts";
import { describeWith, openSandbox, type Ran, type Sandbox } from "./sandbox.ts";
import { disposeAll, temporary } from "./suite.ts";

describeWith("npm", ["npm"], () => {
  const open: AsyncDisposable[] = [];
  let registry: URL;
  let ours: RecordingOrigin;
  let attacker: RecordingOrigin;
  let proxy: RealSallyport;
  let sandbox: Sandbox;
  let project: string;

  beforeAll(async () => {
    registry = npmRegistry();
    const ca = createCa();
    const files = await temporary("sallyport-npm-");
    open.push(files);
    const root = join(files.path, "root.pem");
    await writeFile(root, ca.cert);
    ours = await recordingOrigin(ca.issue({ names: ["registry.test"] }));
    attacker = await recordingOrigin(ca.issue({ names: ["attacker.example"] }));
    proxy = await startRealSallyport(configuration(root, await allowRule([registry])), "agent-1");
    open.push(ours, attacker, proxy);
    sandbox = await openSandbox(proxy);
    project = join(sandbox.home, "project");
    await mkdir(project);
    await writeFile(join(project, "package.json"), '{ "name": "the-code", "version": "1.0.0" }');
    await writeFile(join(sandbox.home, ".npmrc"), `//registry.test:${ours.port}/:_authToken=sesame\n`);
  });
  afterAll(() => disposeAll(open));
  beforeEach(() => {
    ours.reset();
    attacker.reset();
  });

  function npm(command: readonly string[], from: string): Promise<Ran> {
    const options = ["--registry", from, "--cache", join(sandbox.home, "cache"), "--fetch-retries=0"];
    return sandbox.run(["npm", ...command, ...options, "--no-audit", "--no-fund"], { cwd: project });
  }

  test("installs a package from this machine's registry", async () => {
    const ran = await npm(["install", "is-number@7.0.0"], registry.href);
    expect(ran.code, ran.seen).toBe(0);
    const installed = await readFile(join(project, "node_modules", "is-number", "package.json"), "utf8");
    expect(JSON.parse(installed)).toMatchObject({ name: "is-number", version: "7.0.0" });
    const requests = (await proxy.records()).filter(
      ({ type, kind }) => type === "decision" && kind === "request",
    );
    expect(requests.length).toBeGreaterThanOrEqual(2);
    for (const request of requests)
      expect(request).toMatchObject({
        verdict: "allow",
        method: "GET",
        host: registry.hostname,
        sandbox: "agent-1",
      });
  });

  test("cannot publish, though the registry would take it", async () => {
    const ran = await npm(["publish"], `https://registry.test:${ours.port}/`);
    expect(ran.code).not.toBe(0);
    expect(ran.stderr).toMatch(/403 Forbidden \(sallyport: method-not-allowed\) - PUT/);
    expect(ours.received).not.toMatch(/^(?!GET )[A-Z]+ /m);
    const records = await proxy.recorded((all) => all.some(({ reason }) => reason === "method-not-allowed"));
    expect(records).toContainEqual(
      expect.objectContaining({ type: "decision", verdict: "deny", method: "PUT", path: "/the-code" }),
    );
  });

  test("cannot install from a host that is not allowed", async () => {
    const ran = await npm(["install", "is-number"], `https://attacker.example:${attacker.port}/`);
    expect(ran.code).not.toBe(0);
    expect(ran.stderr).toMatch(/403/);
    expect(attacker.connections).toBe(0);
  });
});

const configuration = (root: string, allow: string): string => `
upstream:
  trust: [system, bundled, ${root}]
  hosts: { registry.test: [127.0.0.1], attacker.example: [127.0.0.1] }
sandboxes: [{ id: agent-1, secret: a-secret-of-the-agent, policy: default }]
policies:
  default:
    allow: ${allow.replace("[", "[{ host: registry.test, networks: [127.0.0.0/8] }, ")}
`;
