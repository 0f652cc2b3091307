// Which idle connection serves a request: one whose address nobody here judged only while nobody here can.

import { expect, test } from "vitest";
import { parseAddress } from "../../src/net/address.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import { Connection } from "../../src/proxy/connection.ts";
import type { Published } from "../../src/proxy/parts.ts";
import { findRoute } from "../../src/proxy/route.ts";
import type { Through, UpstreamConnection } from "../../src/upstream/engine.ts";
import { createCa } from "../support/pki.ts";
import { faultBench } from "./bench-of-faults.ts";

const target = parseAuthority("origin.test:443", 443)!;
const known = parseAddress("127.0.0.1")!;

async function route(address: string | undefined, through: Through | undefined) {
  await using bench = await faultBench(createCa());
  let aborted = false;
  let asked = false;
  const idle = {
    address: address === undefined ? undefined : parseAddress(address),
    abort: () => (aborted = true),
  } as unknown as UpstreamConnection;
  const published: Published = bench.parts.published();
  const found = await findRoute(bench.parts, {
    published: {
      ...published,
      upstream: {
        ...published.upstream,
        through: () => through,
        reuse: () => idle,
        resolve: async () => {
          asked = true;
          return [known];
        },
      },
    },
    sandbox: { id: "a", phase: "agent", policy: "default" },
    connection: new Connection("c", { address: "127.0.0.1", port: 1 }),
    scheme: "https",
    target,
    reuse: true,
    by: "1.1",
  });
  return { used: found.action === "allow" && found.idle === idle, aborted, asked };
}

const parent = (unresolved: boolean): Through => ({ parent: "proxy.test:8080", unresolved });

test.each([
  ["a judged address, straight", "127.0.0.1", undefined, true],
  ["a judged address, through a parent", "127.0.0.1", parent(false), true],
  ["a name that the parent resolved, which it still does", undefined, parent(true), true],
  ["a name that the parent resolved, which is known here now", undefined, parent(false), false],
  ["a name that a parent resolved, which is in no way any more", undefined, undefined, false],
])("%s: %s", async (_name, address, through, used) => {
  expect(await route(address, through)).toEqual({ used, aborted: !used, asked: !used });
});

test("one whose address is not allowed any more is closed, and the request refused", async () => {
  expect(await route("10.0.0.1", undefined)).toEqual({ used: false, aborted: true, asked: false });
});
