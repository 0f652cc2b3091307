// Whose connection to an origin may serve a request: remembered for a connection, and never beyond whom it was for.

import { expect, test } from "vitest";
import type { Sandbox } from "../../src/identity/identify.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import { Connection } from "../../src/proxy/connection.ts";
import type { Origin } from "../../src/upstream/engine.ts";

type Asked = Omit<Origin, "partition">;

const target = parseAuthority("origin.test:443", 443)!;
const asked: Asked = { scheme: "https", target, by: "1.1" };
const other = parseAuthority("other.test:443", 443)!;
const sandbox: Sandbox = { id: "a", phase: "agent", policy: "narrow" };
const peer = { address: "192.0.2.1", port: 1 };

test("the same sandbox, asking for the same, has the same one", () => {
  const connection = new Connection("c", peer);
  const origin = connection.origin(sandbox, asked);
  expect(connection.origin(sandbox, { ...asked, target: { ...target } })).toBe(origin);
});

test.each<[string, Sandbox, Partial<Asked>]>([
  ["another sandbox", { ...sandbox, id: "b" }, {}],
  ["nobody who says who they are", { ...sandbox, id: undefined }, {}],
  ["another phase", { ...sandbox, phase: "setup" }, {}],
  ["another policy", { ...sandbox, policy: "wide" }, {}],
  ["another host", sandbox, { target: { ...target, host: other.host } }],
  ["another port", sandbox, { target: { ...target, port: 8443 } }],
  ["without TLS", sandbox, { scheme: "http" }],
  ["by HTTP/2", sandbox, { by: "2" }],
])("%s has another", (_name, whose, otherwise) => {
  const connection = new Connection("c", peer);
  const first = connection.origin(sandbox, asked);
  const second = connection.origin(whose, { ...asked, ...otherwise });
  expect(second).not.toEqual(first);
  expect(connection.origin(sandbox, asked)).toEqual(first);
});
