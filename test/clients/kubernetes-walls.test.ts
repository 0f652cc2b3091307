// The walls of deploy/kubernetes: what its NetworkPolicies let through, and what they do not, whoever asks.

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Manifest, preparedTree, renderWatched, type Tree } from "../support/kubernetes.ts";
import { createWalls, type End, type Flow } from "../support/network-policies.ts";
import { describeWith } from "./sandbox.ts";

describeWith("walls in Kubernetes", ["kubectl", "openssl"], () => {
  let tree: Tree;
  let proxies: Manifest[];
  let sandboxes: Manifest[];

  beforeAll(() => {
    tree = preparedTree("postgres://sallyport@postgresql.database.svc/sallyport");
    proxies = renderWatched(tree);
    sandboxes = tree.render("sandboxes");
  });
  afterAll(() => tree[Symbol.dispose]());

  const proxy = { namespace: "sallyport", labels: { "app.kubernetes.io/name": "sallyport" } };
  const agent = {
    namespace: "sandboxes",
    labels: { "app.kubernetes.io/name": "prometheus", "sallyport/role": "runtime" },
  };
  const dns = { namespace: "kube-system", labels: { "k8s-app": "kube-dns" } };
  const postgres = { namespace: "database", labels: { "app.kubernetes.io/name": "postgresql" } };
  const prometheus = { namespace: "monitoring", labels: { "app.kubernetes.io/name": "prometheus" } };
  const runtime = { namespace: "runtime", labels: {} };
  const stranger = { namespace: "default", labels: { "sallyport/role": "sandboxes" } };
  const namespaces = {
    sandboxes: { "sallyport/role": "sandboxes" },
    runtime: { "sallyport/role": "runtime" },
  };
  const at = (address: string): End => ({ address });

  const through: readonly [string, Flow][] = [
    ["a sandbox to the proxy", { from: agent, to: proxy, port: 3128 }],
    ["a runtime to the API", { from: runtime, to: proxy, port: 9128 }],
    ["Prometheus to the metrics", { from: prometheus, to: proxy, port: 9128 }],
    ["the proxy to the world", { from: proxy, to: at("93.184.216.34"), port: 443 }],
    ["the proxy to the world, any port", { from: proxy, to: at("93.184.216.34"), port: 8443 }],
    ["the proxy to the world by IPv6", { from: proxy, to: at("2606:2800:220:1::1"), port: 443 }],
    ["the proxy to DNS", { from: proxy, to: dns, port: 53, protocol: "UDP" }],
    ["the proxy to its database", { from: proxy, to: postgres, port: 5432 }],
  ];
  const closed: readonly [string, Flow][] = [
    ["a sandbox to the admin port, whatever it calls itself", { from: agent, to: proxy, port: 9128 }],
    ["a sandbox to DNS", { from: agent, to: dns, port: 53, protocol: "UDP" }],
    ["a sandbox to the proxy by UDP", { from: agent, to: proxy, port: 3128, protocol: "UDP" }],
    ["a sandbox to the world", { from: agent, to: at("93.184.216.34"), port: 443 }],
    ["a sandbox to the world by IPv6", { from: agent, to: at("2606:2800:220:1::1"), port: 443 }],
    ["a sandbox to a name server outside", { from: agent, to: at("9.9.9.9"), port: 53, protocol: "UDP" }],
    ["a sandbox to the cloud's metadata", { from: agent, to: at("169.254.169.254"), port: 80 }],
    ["a sandbox to the cluster's API", { from: agent, to: at("10.96.0.1"), port: 443 }],
    ["a sandbox to another", { from: agent, to: agent, port: 8080 }],
    ["a sandbox to the database", { from: agent, to: postgres, port: 5432 }],
    ["the world to a sandbox", { from: at("93.184.216.34"), to: agent, port: 22 }],
    ["the proxy to a sandbox", { from: proxy, to: agent, port: 8080 }],
    [
      "a pod of no sandboxes' namespace to the proxy, whatever its labels",
      { from: stranger, to: proxy, port: 3128 },
    ],
    ["the world to the proxy", { from: at("93.184.216.34"), to: proxy, port: 3128 }],
    ["a runtime to the proxy", { from: runtime, to: proxy, port: 3128 }],
    [
      "another than Prometheus to the metrics",
      { from: { ...prometheus, labels: {} }, to: proxy, port: 9128 },
    ],
    ["the proxy to the cluster's API", { from: proxy, to: at("10.96.0.1"), port: 443 }],
    ["the proxy to the cloud's metadata", { from: proxy, to: at("169.254.169.254"), port: 80 }],
    ["the proxy to inside addresses", { from: proxy, to: at("192.168.1.1"), port: 443 }],
    ["the proxy to CGNAT", { from: proxy, to: at("100.100.100.200"), port: 80 }],
    ["the proxy to inside addresses by IPv6", { from: proxy, to: at("fd00::1"), port: 443 }],
    ["the proxy to inside addresses by 6to4", { from: proxy, to: at("2002:a00:1::"), port: 443 }],
    ["the proxy to the world by UDP", { from: proxy, to: at("93.184.216.34"), port: 443, protocol: "UDP" }],
    ["the proxy to other pods", { from: proxy, to: runtime, port: 80 }],
  ];

  test.each([
    ...through.map((row) => [...row, true] as const),
    ...closed.map((row) => [...row, false] as const),
  ])("%s", (_, flow, passes) => {
    const walls = createWalls([...proxies, ...sandboxes], namespaces);
    expect(walls(flow)).toBe(passes);
  });

  test("the namespaces' labels are those", () => {
    expect(sandboxes.find(({ kind }) => kind === "Namespace")?.metadata).toMatchObject({
      name: "sandboxes",
      labels: { "sallyport/role": "sandboxes", "pod-security.kubernetes.io/enforce": "baseline" },
    });
  });
});
