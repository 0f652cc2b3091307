// A name with more addresses than anybody needs: a way to fill memory, and to have one request dial thousands.

import { expect, test } from "vitest";
import { parseHost } from "../../src/net/host.ts";
import { createResolver } from "../../src/upstream/resolve.ts";
import { createNameServer } from "../support/dns.ts";

test("of each family only the first few are kept", async () => {
  const a = Array.from({ length: 40 }, (_, at) => `192.0.2.${at}`);
  const aaaa = Array.from({ length: 20 }, (_, at) => `2001:db8::${at + 1}`);
  await using names = await createNameServer({ "many.test": { a, aaaa } });
  const resolver = createResolver({ servers: [names.address], timeoutMs: 2_000 });
  const got = await resolver.resolve(parseHost("many.test")!, new AbortController().signal);
  expect(got.filter((address) => address.includes(":"))).toHaveLength(16);
  expect(got.filter((address) => !address.includes(":"))).toEqual(a.slice(0, 16));
});
