// Report-only lets pass what would be denied and says so; it lifts neither the address guard nor what can't be recorded truthfully.

import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { twoOrigins } from "../support/two-origins.ts";

const { plain, secure, upstream } = await twoOrigins(["origin.test", "unlisted.test"]);
let proxy: RunningSallyport;
let recorded = 0;

beforeAll(async () => {
  proxy = await runSallyport(`
${upstream}
anonymous: default
policies:
  default:
    preset: none
    mode: report-only
    methods: read-only
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }]
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
});

const decisions = async (enough: number) => {
  const all = await proxy.recorded(
    (records) => settled(records) && exchanges(records.slice(recorded)).length >= enough,
  );
  return exchanges(all.slice(recorded)).map(({ decision }) => decision);
};

test("a method that would be denied passes, and is recorded so", async () => {
  await using wire = await dialPort(proxy.port);
  const authority = `origin.test:${plain.port}`;
  wire.write(`POST http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 1\r\n\r\nx`);
  expect((await wire.answer()).status).toBe(200);
  expect(await decisions(1)).toMatchObject([
    { verdict: "allow", wouldDeny: { reason: "method-not-allowed" } },
  ]);
});

test("an upgrade that would be denied, in a tunnel", async () => {
  const authority = `origin.test:${secure.port}`;
  const wire = await openTunnel({
    port: proxy.port,
    target: authority,
    tls: { ca: proxy.trustAnchor, servername: "origin.test" },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  wire.write(`GET / HTTP/1.1\r\nHost: ${authority}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
  expect((await wire.answer()).status).toBe(200);
  await wire[Symbol.asyncDispose]();
  expect((await decisions(2))[1]).toMatchObject({
    kind: "upgrade",
    verdict: "allow",
    wouldDeny: { reason: "upgrade-not-allowed" },
  });
});

test("the address guard holds: nothing is connected to", async () => {
  await using wire = await dialPort(proxy.port);
  const authority = `unlisted.test:${plain.port}`;
  wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  expect((await wire.answer()).field("sallyport-reason")).toBe("address-loopback");
  expect(plain.connections).toBe(0);
  expect(await decisions(1)).toMatchObject([{ verdict: "deny", stage: "address" }]);
});

test("two names in one tunnel are refused", async () => {
  const tunnel = await openTunnel({
    port: proxy.port,
    target: `origin.test:${secure.port}`,
    tls: { ca: proxy.trustAnchor, servername: "other.test" },
  });
  expect(tunnel).toBeInstanceOf(Error);
  expect((await decisions(2))[1]).toMatchObject({ kind: "handshake", reason: "sni-mismatch" });
  expect(secure.connections).toBe(0);
});

test("what cannot be read is refused", async () => {
  await using wire = await dialPort(proxy.port);
  const authority = `origin.test:${plain.port}`;
  wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: other.test\r\n\r\n`);
  expect((await wire.answer()).field("sallyport-reason")).toBe("host-mismatch");
  expect(plain.connections).toBe(0);
});
