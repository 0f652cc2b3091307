// The proxy's own host over TLS: answered by the proxy with a leaf of its own, whatever a policy says, and for nothing but its pages.

import { afterAll, beforeAll, expect, test } from "vitest";
import { doctorScript } from "../../src/environment/doctor.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { tunnelWire, wire } from "../support/wire.ts";

let proxy: RunningSallyport;
beforeAll(async () => {
  proxy = await runSallyport(`
sandboxes: [{ id: one, secret: a-secret-of-one, policy: none }, { id: two, secret: a-secret-of-two, policy: two }]
policies:
  none: { preset: none }
  two: { preset: all, methods: all, splice: [sallyport.internal], tcp: [{ host: other.internal, ports: [9] }] }
`);
});
afterAll(() => proxy[Symbol.asyncDispose]());

const as = (id: string): string =>
  `Proxy-Authorization: Basic ${Buffer.from(`${id}:a-secret-of-${id}`).toString("base64")}\r\n`;
const open = (id: string) =>
  tunnelWire(proxy.port, {
    authority: "sallyport.internal:443",
    trustAnchor: proxy.trustAnchor,
    headers: as(id),
  });
const get = (path: string, host = "sallyport.internal"): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;

test.each(["one", "two"])("the pages of it, to sandbox %s", async (id) => {
  using inside = await open(id);
  inside.send(get("/doctor"));
  const answer = await inside.rest();
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
  expect(answer.slice(answer.indexOf("\r\n\r\n") + 4)).toBe(doctorScript());
  expect(await proxy.recorded((all) => all.some(({ path }) => path === "/doctor"))).toContainEqual(
    expect.objectContaining({
      type: "decision",
      verdict: "allow",
      path: "/doctor",
      scheme: "https",
      rule: { id: "sallyport.internal", source: "built-in" },
    }),
  );
});

test("what is no page of it is refused readably, and nothing else can be asked inside", async () => {
  using inside = await open("two");
  inside.send(get("/doctor/refused"));
  const answer = await inside.rest();
  expect(answer).toMatch(/^HTTP\/1\.1 403 Forbidden \(sallyport: path-not-allowed\)\r\n/);
  expect(answer).toContain("  reason:  path-not-allowed\n");
  for (const host of ["attacker.example", "sallyport.internal:80"]) {
    using other = await open("two");
    other.send(get("/", host));
    expect(await other.rest()).toMatch(/ 403 .*host-mismatch/);
  }
});

test.each([
  ["who gives no credentials", "", "sallyport.internal:443", "407 .*credentials-missing"],
  ["another port", as("two"), "sallyport.internal:9", "403 .*port-not-allowed"],
  ["SSH's port, where everything is allowed", as("two"), "sallyport.internal:22", "403 .*port-not-allowed"],
])("no tunnel for %s", async (_who, headers, authority, told) => {
  using outer = await wire(proxy.port);
  outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${headers}Connection: close\r\n\r\n`);
  expect(await outer.until((text) => text.includes("\r\n\r\n"))).toMatch(new RegExp(`^HTTP/1.1 ${told}`));
});

test("a ClientHello for another name is refused", async () => {
  const authority = "sallyport.internal:443";
  using outer = await wire(proxy.port);
  outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${as("two")}\r\n`);
  await outer.until((text) => text.includes("\r\n\r\n"));
  outer.socket.removeAllListeners("data");
  const { connect } = await import("node:tls");
  const secured = connect({
    socket: outer.socket,
    servername: "attacker.example",
    ca: proxy.trustAnchor,
  });
  await new Promise((resolve) => secured.once("error", resolve));
  await proxy.recorded((all) => all.some(({ reason }) => reason === "sni-mismatch"));
});
