// A sandbox behind a balancer that says of itself whose connection it has: wherever it writes a PROXY header, it is known by the
// balancer's, the header reaches no origin, and the address of another sandbox makes it nobody else.

import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, Wire } from "../proxy/wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { binaryHeader, textHeader } from "../support/ways/proxy-header.ts";
import { socks5 } from "../support/ways/socks5.ts";

const ca = createCa();
const OWN = "198.51.100.7";
/** Another sandbox's, which may more. */
const FORGED = "203.0.113.9";
let origin: RecordingOrigin;
let secure: RecordingOrigin;
let proxy: RunningSallyport;
let redirected = 0;
let recorded = 0;

beforeAll(async () => {
  origin = await recordingOrigin();
  secure = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1], other.test: [127.0.0.1] } }
proxy_protocol: [127.0.0.0/8]
tls: { names: [proxy.test] }
limits: { drain: 1s, head_time: 1s, handshake: 1s }
transparent: [{ listen: "127.0.0.1:0", port: ${origin.port} }]
sandboxes:
  - { id: own, sources: [${OWN}/32], policy: own }
  - { id: other, sources: [${FORGED}/32], policy: other }
policies:
  own: { methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
  other: { methods: all, allow: [{ host: "**.test", networks: [127.0.0.0/8] }] }
`);
  redirected = proxy.sallyport.transparent[0]?.port ?? 0;
});
afterAll(async () => {
  for (const one of [proxy, origin, secure]) await one[Symbol.asyncDispose]();
});
beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  for (const one of [origin, secure]) one.reset();
});

const FORGERIES: Readonly<Record<string, Buffer>> = {
  "version 1": Buffer.from(textHeader(FORGED)),
  "version 2": binaryHeader({ block: Buffer.from([203, 0, 113, 9, 192, 0, 2, 9, 0x13, 0x88, 0x0c, 0x38]) }),
  "version 2, local": binaryHeader({ command: 0 }),
};

const request = (host: string): string =>
  `GET http://${host}:${origin.port}/ HTTP/1.1\r\nHost: ${host}:${origin.port}\r\n\r\n`;
const inside = (port: number): string => `GET / HTTP/1.1\r\nHost: origin.test:${port}\r\n\r\n`;

/** A connection as the balancer passes it on. */
async function behind(port = proxy.port): Promise<Wire> {
  return (await dialPort(port)).write(textHeader(OWN));
}

async function secured(wire: Wire, servername: string): Promise<Wire> {
  wire.socket.removeAllListeners("data");
  const socket = connectTls({ socket: wire.socket, servername, ca: proxy.trustAnchor });
  await once(socket, "secureConnect");
  return new Wire(socket);
}

async function tunnel(port: number): Promise<Wire> {
  const wire = await behind();
  wire.write(`CONNECT origin.test:${port} HTTP/1.1\r\nHost: origin.test:${port}\r\n\r\n`);
  expect((await wire.answer("CONNECT")).status).toBe(200);
  return wire;
}

/** Where it writes its header, and what it would ask for behind it. */
const PLACES: Readonly<Record<string, () => Promise<readonly [Wire, string]>>> = {
  "behind the balancer's": async () => [await behind(), request("other.test")],
  "behind the balancer's local one": async () => [
    (await dialPort(proxy.port)).write(binaryHeader({ command: 0 })),
    request("other.test"),
  ],
  "behind the balancer's unknown one": async () => [
    (await dialPort(proxy.port)).write("PROXY UNKNOWN\r\n"),
    request("other.test"),
  ],
  "on a redirected connection": async () => [await behind(redirected), inside(origin.port)],
  "behind a request": async () => {
    const wire = (await behind()).write(request("origin.test"));
    expect((await wire.answer()).status).toBe(200);
    return [wire, request("other.test")];
  },
  "in a tunnel, where TLS is expected": async () => [await tunnel(secure.port), inside(secure.port)],
  "in a tunnel, inside its TLS": async () => [
    await secured(await tunnel(secure.port), "origin.test"),
    inside(secure.port),
  ],
  "in a tunnel of SOCKS5": async () => {
    const wire = await behind();
    expect(await socks5(wire, { host: "origin.test", port: origin.port })).toBe(0);
    return [wire, inside(origin.port)];
  },
  "inside TLS to the proxy": async () => [await secured(await behind(), "proxy.test"), request("other.test")],
};

describe.each(Object.keys(PLACES))("%s", (place) => {
  test.each(Object.keys(FORGERIES))("%s", async (forgery) => {
    const [wire, more] = (await PLACES[place]?.()) ?? [];
    if (wire === undefined || more === undefined) throw new Error("no such place");
    const [before, served] = [wire.all.length, origin.connections];
    wire.write(Buffer.concat([FORGERIES[forgery] ?? Buffer.alloc(0), Buffer.from(more)]));
    await wire.rest();
    expect(wire.all.slice(before)).not.toMatch(/^HTTP\/1\.1 [23]/m);
    await wire[Symbol.asyncDispose]();
    expect([origin.connections - served, secure.connections]).toEqual([0, 0]);
    expect(origin.received).not.toMatch(/PROXY|QUIT/);
    const all = await proxy.recorded((now) => settled(now) && now.slice(recorded).some(isRefusal));
    const decisions = exchanges(all.slice(recorded)).map(({ decision }) => decision);
    expect(decisions.find(isRefusal)).toMatchObject({ verdict: "deny" });
    for (const { source, sandbox } of decisions) {
      expect(source).toMatch(/local|unknown/.test(place) ? /^127\.0\.0\.1:/ : /^198\.51\.100\.7:5000$/);
      expect([undefined, "own"]).toContain(sandbox);
    }
  });
});

function isRefusal(record: Readonly<Record<string, unknown>>): boolean {
  return record["type"] === "decision" && record["verdict"] === "deny";
}

test("what it could ask for, were it believed", async () => {
  await using wire = (await dialPort(proxy.port)).write(textHeader(FORGED) + request("other.test"));
  expect((await wire.answer()).status).toBe(200);
  await using own = (await behind()).write(request("other.test"));
  expect((await own.answer()).field("sallyport-reason")).toBe("host-not-allowed");
});
