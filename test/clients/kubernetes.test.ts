// deploy/kubernetes: valid by the published schemas, whole in what it names, a wall in what it lets through, and a configuration
// that runs.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { loadConfig } from "../../src/config/load.ts";
import { METRICS } from "../../src/telemetry/table.ts";
import { blocksOf } from "../docs/markdown.ts";
import { startChild, writeConfig } from "../support/child.ts";
import {
  type Manifest,
  preparedTree,
  renderWatched,
  ROOT,
  type Tree,
  validate,
} from "../support/kubernetes.ts";
import { selects } from "../support/network-policies.ts";
import { describeWith } from "./sandbox.ts";

const STORE_URL = "postgres://sallyport:p%40ss@postgresql.database.svc/sallyport";

describeWith("Kubernetes", ["kubectl", "openssl", "promtool"], () => {
  let tree: Tree;
  let sandboxes: Manifest[];
  const proxies: Record<string, Manifest[]> = {};

  beforeAll(() => {
    tree = preparedTree(STORE_URL);
    for (const name of ["single", "replicas"]) proxies[name] = tree.render(`overlays/${name}`);
    proxies["watched"] = renderWatched(tree);
    sandboxes = tree.render("sandboxes");
  });
  afterAll(() => tree[Symbol.dispose]());

  test("prepare.sh leaves what is there as it is", () => {
    const files = ["keys/ca.key", "keys/tickets.key", "keys/sallyport.env", "sandboxes/sandbox.env"];
    const read = () => files.map((file) => readFileSync(join(tree.directory, file), "hex"));
    const before = read();
    execFileSync(join(tree.directory, "prepare.sh"), {
      env: { PATH: `${tree.directory}/bin:${process.env["PATH"]}`, SALLYPORT_ROOT: ROOT },
    });
    expect(read()).toEqual(before);
    expect(secretOf(sandboxes, "sallyport-environment")["JAVA_TOOL_OPTIONS"]).toMatch(/^-D.*Password=\S+/);
  });

  test.each(["single", "replicas", "watched"])("%s is what the schemas say", async (name) => {
    await validate(proxies[name] ?? []);
  });

  test("sandboxes are what the schemas say", async () => {
    await validate(sandboxes);
  });

  test("the schemas would say so", async () => {
    const deployment = one(proxies["single"], "Deployment");
    const typed = structuredClone(deployment);
    typed.spec.template.spec.containers[0].ports[0].containerPort = "proxy";
    await expect(validate([typed])).rejects.toThrow(/containerPort/);
    const misspelt = structuredClone(deployment);
    misspelt.spec.template.spec.containers[0].securityContex = {};
    await expect(validate([misspelt])).rejects.toThrow(/securityContex/);
  });

  describe.each(["single", "replicas", "watched"])("%s", (name) => {
    const all = (): Manifest[] => proxies[name] ?? [];
    const pod = () => one(all(), "Deployment").spec.template;
    const container = () => pod().spec.containers[0];

    test("everything that is named is there", () => {
      const names = (kind: string) =>
        all()
          .filter((of) => of.kind === kind)
          .map((of) => of.metadata.name);
      for (const { configMap, secret, persistentVolumeClaim } of pod().spec.volumes) {
        if (configMap) expect(names("ConfigMap")).toContain(configMap.name);
        if (secret) expect(names("Secret")).toContain(secret.secretName);
        if (persistentVolumeClaim)
          expect(names("PersistentVolumeClaim")).toContain(persistentVolumeClaim.claimName);
      }
      for (const { secretRef } of container().envFrom) expect(names("Secret")).toContain(secretRef.name);
      expect(names("ServiceAccount")).toContain(pod().spec.serviceAccountName);
      const volumes = pod().spec.volumes.map((volume: { name: string }) => volume.name);
      expect(
        container()
          .volumeMounts.map((mount: { name: string }) => mount.name)
          .toSorted(),
      ).toEqual(volumes.toSorted());
      expect(
        all().filter(({ metadata, kind }) => metadata.namespace !== "sallyport" && kind !== "Namespace"),
      ).toEqual([]);
    });

    test("selectors select the pods, ports are theirs", () => {
      const labels = pod().metadata.labels;
      expect(selects(one(all(), "Deployment").spec.selector, labels)).toBe(true);
      const named = new Map<unknown, number>();
      for (const port of container().ports) named.set(port.name, port.containerPort);
      const services = all().filter(({ kind }) => kind === "Service");
      expect(
        services.map(({ metadata, spec }) => [
          metadata.name,
          spec.ports.map((port: Manifest) => named.get(port["targetPort"])),
        ]),
      ).toEqual([
        ["sallyport", [3128]],
        ["sallyport-admin", [9128]],
      ]);
      for (const { spec } of services) expect(selects({ matchLabels: spec.selector }, labels)).toBe(true);
      for (const kind of ["PodDisruptionBudget", "PodMonitor"])
        for (const { spec } of all().filter((of) => of.kind === kind))
          expect(selects(spec.selector, labels)).toBe(true);
      for (const { spec } of all().filter(({ kind }) => kind === "PodMonitor"))
        for (const { port } of spec.podMetricsEndpoints) expect(named.get(port)).toBe(9128);
      for (const { labelSelector } of pod().spec.topologySpreadConstraints)
        expect(selects(labelSelector, labels)).toBe(true);
    });

    test("the pod is one that the namespace's level admits, and the image's user fits", () => {
      const image = readFileSync(join(ROOT, "Dockerfile"), "utf8");
      const [, uid, gid] = /^USER (\d+):(\d+)$/m.exec(image) ?? [];
      expect(pod().spec.securityContext).toMatchObject({
        runAsNonRoot: true,
        runAsUser: Number(uid),
        runAsGroup: Number(gid),
        fsGroup: Number(gid),
        seccompProfile: { type: "RuntimeDefault" },
      });
      expect(pod().spec.containers).toHaveLength(1);
      expect(container().securityContext).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
      for (const key of ["hostNetwork", "hostPID", "hostIPC"]) expect(pod().spec[key]).toBeUndefined();
      expect(pod().spec.automountServiceAccountToken).toBe(false);
      expect(one(all(), "Namespace").metadata.labels).toMatchObject({
        "pod-security.kubernetes.io/enforce": "restricted",
      });
      const mounts = container().volumeMounts.map((mount: { mountPath: string }) => mount.mountPath);
      expect(mounts).toContain(/^WORKDIR (.*)$/m.exec(image.slice(image.lastIndexOf("FROM")))?.[1]);
      expect(/^EXPOSE (.*)$/m.exec(image)?.[1]?.split(" ").map(Number)).toEqual(
        container().ports.map((port: { containerPort: number }) => port.containerPort),
      );
    });

    test("the configuration holds, its files are mounted, its variables are there, and the drain fits", async () => {
      const { config } = await configurationOf(all(), tree);
      const mounted = (path: string): boolean =>
        container().volumeMounts.some(({ mountPath }: { mountPath: string }) =>
          path.startsWith(`${mountPath}/`),
        );
      const text = configuration(all());
      const paths = [...text.matchAll(/(?<=[ :])\/[a-z][\w./-]*/g)].map(([path]) => path);
      expect(paths.length).toBeGreaterThanOrEqual(4);
      for (const path of paths) expect([path, mounted(path)]).toEqual([path, true]);
      const { terminationGracePeriodSeconds: grace } = pod().spec;
      const waits = container().lifecycle.preStop.sleep.seconds + config.limits.drainMs / 1000;
      expect(grace).toBeGreaterThan(waits);
      expect(config.anonymous).toBeUndefined();
      expect(config.store.kind).toBe(name === "single" ? "sqlite" : "postgres");
    });
  });

  test("a replica's number is the autoscaler's, and its records are its own", () => {
    const { spec } = one(proxies["replicas"], "Deployment");
    expect(spec.replicas).toBeUndefined();
    expect(one(proxies["replicas"], "HorizontalPodAutoscaler").spec).toMatchObject({
      minReplicas: 2,
      scaleTargetRef: { kind: "Deployment", name: "sallyport" },
    });
    const data = spec.template.spec.containers[0].volumeMounts.find(
      (of: { name: string }) => of.name === "data",
    );
    expect(data).toEqual({ name: "data", mountPath: "/var/lib/sallyport", subPathExpr: "$(POD_NAME)" });
    expect(one(proxies["single"], "Deployment").spec).toMatchObject({
      replicas: 1,
      strategy: { type: "Recreate" },
    });
  });

  test("rules are those of the documentation, and promtool reads them", () => {
    const { spec } = one(proxies["watched"], "PrometheusRule");
    const documented = blocksOf("docs/metrics.md").find(({ text }) => text.startsWith("groups:"));
    expect(spec).toEqual(parse(documented?.text ?? ""));
    const file = join(tree.directory, "rules.yaml");
    writeFileSync(file, JSON.stringify(spec));
    execFileSync("promtool", ["check", "rules", file], { stdio: "pipe" });
  });

  test("the dashboard asks for what is counted, in a language that promtool reads", () => {
    const dashboard = (proxies["watched"] ?? []).find(
      ({ metadata }) => metadata.name === "sallyport-dashboard",
    );
    expect(dashboard?.metadata.labels).toMatchObject({ grafana_dashboard: "1" });
    const { panels } = JSON.parse(dashboard?.data["sallyport.json"]);
    const questions: string[] = panels.flatMap(({ targets }: Manifest) =>
      targets.map(({ expr }: Manifest) => expr),
    );
    expect(questions.length).toBeGreaterThan(5);
    const counted = new Set<string>(Object.values(METRICS).map(({ name }) => name));
    for (const question of questions)
      for (const [name] of question.matchAll(/sallyport_\w+/g))
        expect(counted).toContain(name.replace(/_bucket$/, ""));
    const rules = questions.map((expr, at) => ({
      record: `panel:${at}`,
      expr: expr.replaceAll("$__rate_interval", "5m"),
    }));
    const file = join(tree.directory, "panels.yaml");
    writeFileSync(file, JSON.stringify({ groups: [{ name: "panels", rules }] }));
    execFileSync("promtool", ["check", "rules", file], { stdio: "pipe" });
  });

  test("single runs with its files and its variables, its probes are answered, and it ends as asked", async () => {
    const { text, env } = await configurationOf(proxies["single"] ?? [], tree);
    const directory = join(tree.directory, "running");
    mkdirSync(directory);
    await writeConfig(directory, less(text, ["listen", "admin", "log"]));
    const child = await startChild(directory, [], env);
    try {
      const container = one(proxies["single"], "Deployment").spec.template.spec.containers[0];
      for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"]) {
        const { path, port } = container[probe].httpGet;
        expect(port).toBe("admin");
        expect((await fetch(`http://127.0.0.1:${child.adminPort}${path}`)).status).toBe(200);
      }
      child.signal("SIGTERM");
      expect(await child.ended).toBe(0);
    } finally {
      child.signal("SIGKILL");
    }
  });
});

function one(all: readonly Manifest[] | undefined, kind: string): Manifest {
  const found = (all ?? []).filter((of) => of.kind === kind);
  if (found[0] === undefined) throw new Error(`there is no ${kind}`);
  return found[0];
}

function configuration(all: readonly Manifest[]): string {
  return all.find(({ metadata }) => metadata.name === "sallyport-config")?.data["sallyport.yaml"];
}

function secretOf(all: readonly Manifest[], prefix: string): Record<string, string> {
  const secret = all.find(({ kind, metadata }) => kind === "Secret" && metadata.name.startsWith(prefix));
  const entries = Object.entries<string>(secret?.data ?? {});
  return Object.fromEntries(entries.map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
}

/** As it is in the pod, with the mounts' places on this machine. */
async function configurationOf(all: readonly Manifest[], { directory }: Tree) {
  const text = configuration(all)
    .replaceAll("/run/secrets/sallyport", join(directory, "keys"))
    .replaceAll("/run/sallyport", directory)
    .replaceAll("/var/lib/sallyport", join(directory, "data"));
  const env = secretOf(all, "sallyport-env");
  const cwd = join(directory, `checked-${one(all, "Deployment").spec.replicas ?? "many"}`);
  mkdirSync(cwd, { recursive: true });
  writeFileSync(join(cwd, "sallyport.yaml"), text);
  const loaded = await loadConfig({ cwd, env });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.diagnostics));
  expect(loaded.warnings).toEqual([]);
  return { text, env, config: loaded.config };
}

function less(yaml: string, keys: readonly string[]): string {
  const whole = parse(yaml) as Record<string, unknown>;
  return stringify(Object.fromEntries(Object.entries(whole).filter(([key]) => !keys.includes(key))));
}
