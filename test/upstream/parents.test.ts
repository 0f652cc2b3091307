// What the rest of the proxy never asks for, and what must not happen if it did.

import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { parseAddress } from "../../src/net/address.ts";
import type { Host } from "../../src/net/host.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import { createParents, type Parent } from "../../src/upstream/parents.ts";
import { createResolver } from "../../src/upstream/resolve.ts";
import { createTrust } from "../../src/upstream/trust.ts";
import { createNameServer } from "../support/dns.ts";

const target = { host: "origin.test" as Host, port: 443 };
const resolver = createResolver({ timeoutMs: 1_000, hostsFile: "/nowhere" });
const trust = createTrust({ trust: ["bundled"] });

test("a parent whose name server is silent: the bound is on the whole of the way", async () => {
  await using dns = await createNameServer({ "parent.test": "silent" });
  const slow = createResolver({ servers: [dns.address], timeoutMs: 60_000, hostsFile: "/nowhere" });
  const host = "parent.test" as Host;
  const parent: Parent = { secure: false, host, port: 1, credentials: undefined, address: "judged", trust };
  const parents = createParents({
    parent,
    routes: [],
    resolver: slow,
    limits: { ...DEFAULT_LIMITS, connectMs: 200 },
    own: () => [],
    ownNames: [],
  });
  await expect(parents.open(target, [parseAddress("192.0.2.1")!])).rejects.toMatchObject({
    reason: "parent-timeout",
  });
});

function parentsAt(port: number, address: Parent["address"]) {
  const host = "127.0.0.1" as Host;
  const parent: Parent = { secure: false, host, port, credentials: undefined, address, trust };
  const options = { resolver, limits: DEFAULT_LIMITS, own: () => [], ownNames: ["this.machine"] };
  return createParents({ parent, routes: [], ...options });
}

test("no judged address: nothing is asked for, least of all the name", async () => {
  let connections = 0;
  const server = createServer(() => connections++).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await expect(parentsAt(port, "judged").open(target, [])).rejects.toMatchObject({
    reason: "internal-error",
  });
  expect(connections).toBe(0);
  server.close();
});

test.each<[string, boolean]>([
  ["origin.test", true],
  ["localhost", false],
  ["a.localhost", false],
  ["192.0.2.1", false],
  ["2001:db8::1", false],
  ["this.machine", false],
])("under `name`, that nobody knows where %s leads: %s", (host, unresolved) => {
  const asked = { host: host as Host, port: 443 };
  expect(parentsAt(1, "name").through(asked)).toEqual({ parent: "127.0.0.1:1", unresolved });
  expect(parentsAt(1, "judged").through(asked)).toEqual({ parent: "127.0.0.1:1", unresolved: false });
});
