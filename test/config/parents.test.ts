// Parent proxies as they are configured: every form, credentials from the environment whatever they are made of, and that
// nothing that is printed holds them.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { loadConfig } from "../../src/config/load.ts";
import { fixture } from "./fixture.ts";

async function upstreamOf(text: string, env: Record<string, string> = {}) {
  const { load, cwd } = await fixture({ "sallyport.yaml": `anonymous: default\nupstream:\n${text}\n` });
  await writeFile(join(cwd, "corp.pem"), "");
  const loaded = await loadConfig({ ...load, env });
  if (!loaded.ok) throw new Error(loaded.diagnostics.map(formatDiagnostic).join("\n"));
  return { upstream: loaded.config.upstream, cwd, warnings: loaded.warnings.map(formatDiagnostic) };
}

const plain = { secure: false, credentials: undefined, address: "judged", trust: undefined };

test("every form", async () => {
  const { upstream, cwd, warnings } = await upstreamOf(`
  parent: http://proxy.corp.example:8080
  routes:
    - { host: "**.corp.example", parent: direct }
    - { host: 10.0.0.0/8, ports: [443, 8443], parent: "https://[2001:db8::1]:443" }
    - host: partner.example
      parent: { url: https://other.example:8443, address: name, trust: [system, corp.pem] }`);
  expect(upstream.parent).toEqual({ ...plain, host: "proxy.corp.example", port: 8080 });
  expect(upstream.routes).toEqual([
    { host: "**.corp.example", ports: undefined, parent: undefined },
    {
      host: "10.0.0.0/8",
      ports: [443, 8443],
      parent: { ...plain, secure: true, host: "2001:db8::1", port: 443 },
    },
    {
      host: "partner.example",
      ports: undefined,
      parent: {
        secure: true,
        host: "other.example",
        port: 8443,
        credentials: undefined,
        address: "name",
        trust: [{ kind: "system" }, { kind: "file", path: join(cwd, "corp.pem") }],
      },
    },
  ]);
  expect(warnings).toEqual([expect.stringMatching(/^sallyport\.yaml:9:\d+ warning: .*names/)]);
});

test.each<[string, Record<string, string>, string]>([
  ["http://agent:literal@proxy.example:1", {}, "agent:literal"],
  ["http://agent:lit%40eral@proxy.example:1", {}, "agent:lit@eral"],
  ["http://agent:${PASS}@proxy.example:1", { PASS: "plain" }, "agent:plain"],
  // As it stands in the environment, not as a URL would have it.
  ["http://agent:${PASS}@proxy.example:1", { PASS: "p@:/?#%41 ü${X}" }, "agent:p@:/?#%41 ü${X}"],
  ["http://${WHO}:${PASS}@proxy.example:1", { WHO: "DOM\\agent", PASS: "x" }, "DOM\\agent:x"],
  ["http://agent:a-${PASS}-b@${HOST}:1", { PASS: "@", HOST: "proxy.example" }, "agent:a-@-b"],
  // A whole URL is one, with its own spelling.
  ["${PROXY}", { PROXY: "http://agent:p%40ss@proxy.example:1" }, "agent:p@ss"],
  ["http://agent:$${PASS%7D@proxy.example:1", {}, "agent:${PASS}"],
])("credentials in %s", async (written, env, expected) => {
  for (const text of [`  parent: '${written}'`, `  parent: { url: '${written}' }`]) {
    const { upstream } = await upstreamOf(text, env);
    expect(upstream.parent).toMatchObject({ host: "proxy.example", port: 1 });
    expect(upstream.parent?.credentials?.reveal()).toBe(expected);
    expect(`${JSON.stringify(upstream)}${inspect(upstream, { depth: 9 })}`).not.toContain(expected.slice(6));
  }
  const { upstream } = await upstreamOf(`  routes: [{ host: a.example, parent: '${written}' }]`, env);
  expect(upstream.routes[0]?.parent?.credentials?.reveal()).toBe(expected);
});

test.each([
  // It would be another user's name, or another host.
  ["http://${BOTH}@proxy.example:1", "agent:hunter2"],
  ["http://agent:${BOTH}@proxy.example:1", "hunter2\r\nX: y"],
  ["http://${BOTH}:1", "agent:hunter2@proxy.example"],
  ["${BOTH}", "http://agent:hunter2@proxy.example:1/path"],
  ["${BOTH}", ""],
])("%s with %j is refused, and not repeated", async (written, value) => {
  const load = upstreamOf(`  parent: '${written}'`, { BOTH: value });
  if (written === "http://${BOTH}:1") return expect((await load).upstream.parent?.host).toBe("proxy.example");
  await expect(load).rejects.toThrow(/^sallyport\.yaml:3:11 expected the URL of a proxy/);
  await expect(load).rejects.not.toThrow(/hunter2/);
});
