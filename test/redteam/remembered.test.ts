// What was found out once is remembered: of a tunnel's name, of a host in a policy, of a rule. It must never stand for anything else.

import { expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { tunnelWire, wire, type Wire } from "../support/wire.ts";

const STATUS = /^HTTP\/1\.1 (\d{3})/gm;

/** The status that the next request on the connection is answered with. */
async function asks({ send, until, received }: Wire, head: string): Promise<string | undefined> {
  const before = received.match(STATUS)?.length ?? 0;
  send(`${head}\r\n\r\n`);
  const all = await until((text) => (text.match(STATUS)?.length ?? 0) > before);
  return [...all.matchAll(STATUS)].at(before)?.[1];
}

test("a Host that was said before opens no door for one that differs", async () => {
  const ca = createCa();
  await using origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1], other.test: [127.0.0.1] }, trust: [${await trustFile(ca)}] }
anonymous: default
policies:
  default: { allow: [{ host: "*.test", networks: [127.0.0.0/8] }] }
`);
  const authority = `origin.test:${origin.port}`;
  const { port, trustAnchor } = proxy;
  const told: Record<string, string | undefined> = {};
  const said: Record<string, string> = {
    "the same": authority,
    "another host": `other.test:${origin.port}`,
    "no port": "origin.test",
    "another port": `origin.test:${origin.port + 1}`,
    "with user": `x@${authority}`,
    "with blank inside": `origin.test :${origin.port}`,
    "leading zero": `origin.test:0${origin.port}`,
    "more behind": `${authority}/x`,
    "in upper case": authority.toUpperCase(),
    "two of them": `${authority}\r\nHost: ${authority}`,
  };
  for (const [name, host] of Object.entries(said)) {
    using sandbox = await tunnelWire(port, { authority, trustAnchor });
    expect(await asks(sandbox, `GET /first HTTP/1.1\r\nHost: ${authority}`)).toBe("200");
    origin.reset();
    told[name] = await asks(sandbox, `GET /second HTTP/1.1\r\nHost: ${host}`);
    if (told[name] !== "200") expect(origin.received).toBe("");
    else expect(origin.received).toMatch(new RegExp(`^Host: ${authority}\r$`, "m"));
  }
  const { "the same": same, "in upper case": upper, ...others } = told;
  expect([same, upper]).toEqual(["200", "200"]);
  for (const status of Object.values(others)) expect(status).toMatch(/^4/);
});

test("what one policy knows of a host is no other's, however many hosts were asked for meanwhile", async () => {
  await using origin = await recordingOrigin();
  const rules = (reason: string): string => `
upstream: { hosts: { origin.test: [127.0.0.1] } }
sandboxes:
  - { id: may, secret: a-secret-of-may-1234, policy: open }
  - { id: not, secret: a-secret-of-not-1234, policy: shut }
policies:
  open: { allow: [{ host: origin.test, networks: [127.0.0.0/8], reason: ${reason} }] }
  shut: { deny: [{ host: origin.test, reason: ${reason} }] }
`;
  await using proxy = await runSallyport(rules("first"));
  const as = (id: string, host: string): string => {
    const credentials = Buffer.from(`${id}:a-secret-of-${id}-1234`).toString("base64");
    return `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nProxy-Authorization: Basic ${credentials}`;
  };
  const host = `origin.test:${origin.port}`;
  using may = await wire(proxy.port);
  using not = await wire(proxy.port);
  const both = async (): Promise<(string | undefined)[]> => [
    await asks(may, as("may", host)),
    await asks(not, as("not", host)),
  ];
  expect(await both()).toEqual(["200", "403"]);
  for (let other = 0; other < 300; other++) expect(await asks(not, as("not", `h${other}.test`))).toBe("403");
  expect(await both()).toEqual(["200", "403"]);
  // The rules are others now, in the same places.
  expect(await proxy.reconfigure(rules("second"))).toBe(true);
  expect(await both()).toEqual(["200", "403"]);
  const reasons = (await proxy.records())
    .filter(({ type, host: asked }) => type === "decision" && asked === "origin.test")
    .map(({ rule }) => (rule as { readonly reason: string }).reason);
  expect(reasons).toEqual(["first", "first", "first", "first", "second", "second"]);
});
