// The verdicts on names and addresses over the ways in for clients that know of no proxy: plain, intercepted and spliced
// redirects, and the name server, which must say yes to a name where a connection for it could be, and only there.

import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { REASONS, type Reason } from "../../src/net/reasons.ts";
import { createNameServer, type NameServer } from "../support/dns.ts";
import { question, readAnswer } from "../support/dns-messages.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

type Case = {
  readonly host: string;
  /** Absent: allowed. */
  readonly reason?: Reason;
  /** The name could be allowed; what it resolves to may not be dialed. */
  readonly resolves?: true;
};

const no = (host: string, reason: Reason): Case => ({ host, reason });
const at = (host: string, reason: Reason): Case => ({ host, reason, resolves: true });
const CASES: readonly Case[] = [
  { host: "origin.test" },
  { host: "ORIGIN.test" },
  { host: "a.wild.test" },
  { host: "b.a.wild.test" },
  { host: "both.test" },
  { host: "api-1.part.test" },
  no("other.test", "host-not-allowed"),
  no("sub.origin.test", "host-not-allowed"),
  no("evil-origin.test", "host-not-allowed"),
  no("origin.test.evil.test", "host-not-allowed"),
  no("wild.test", "host-not-allowed"),
  no("api-1.x.part.test", "host-not-allowed"),
  no("expired.test", "host-not-allowed"),
  no("denied.wild.test", "host-denied"),
  no("ports.test", "port-not-allowed"),
  at("loopback.test", "address-loopback"),
  at("private.test", "address-private"),
  at("metadata.test", "address-metadata"),
  at("mapped.test", "address-embedded"),
  at("alias.test", "address-private"),
  at("gone.test", "dns-not-found"),
];
const ZONES = {
  "origin.test": { a: ["127.0.0.1"] },
  "a.wild.test": { a: ["127.0.0.1"] },
  "b.a.wild.test": { a: ["127.0.0.1"] },
  "both.test": { a: ["127.0.0.1"] },
  "api-1.part.test": { a: ["127.0.0.1"] },
  "loopback.test": { a: ["127.0.0.1"] },
  "private.test": { a: ["10.0.0.1"] },
  "metadata.test": { a: ["169.254.169.254"] },
  "mapped.test": { aaaa: ["::ffff:7f00:1"] },
  "alias.test": { cname: "inside.test" },
  "inside.test": { a: ["10.0.0.1"] },
};
const LOCAL = "networks: [127.0.0.0/8]";
const RULES = `
    preset: none
    allow:
      - { host: origin.test, ${LOCAL} }
      - { host: "*.wild.test", ${LOCAL} }
      - { host: "**.both.test", ${LOCAL} }
      - { host: "api-*.part.test", ${LOCAL} }
      - { host: ports.test, ports: [1], ${LOCAL} }
      - { host: expired.test, expires: 2020-01-01T00:00:00Z, ${LOCAL} }
      - loopback.test
      - private.test
      - metadata.test
      - { host: mapped.test, ${LOCAL} }
      - alias.test
      - gone.test
    deny: [denied.wild.test]
`;

let ca: Issued;
let plain: RecordingOrigin;
let secure: RecordingOrigin;
let names: NameServer;
let proxy: RunningSallyport;
let recorded = 0;

beforeAll(async () => {
  ca = createCa();
  plain = await recordingOrigin();
  secure = await recordingOrigin(ca.issue({ names: Object.keys(ZONES) }));
  names = await createNameServer(ZONES);
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], resolvers: ["${names.address}"] }
sandboxes: [{ id: spliced, secret: a-secret-of-a-kind, policy: spliced }]
anonymous: limited
transparent:
  - { listen: "127.0.0.1:0", port: ${plain.port} }
  - { listen: "127.0.0.1:0", port: ${secure.port} }
  - { listen: "127.0.0.1:0", port: ${secure.port}, sandbox: spliced }
dns: { listen: "127.0.0.1:0", answer: [10.9.9.9] }
policies:
  limited:
    methods: read-only${RULES}
  spliced:
    methods: all${RULES}
    splice: ["**.test"]
`);
});

afterAll(async () => {
  for (const each of [proxy, plain, secure, names]) await each[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  plain.reset();
  secure.reset();
  names.asked.length = 0;
});

const TRANSPORTS = ["plain", "intercepted", "spliced"] as const;
type Transport = (typeof TRANSPORTS)[number];

/** The reason in the answer, or the code of the alert. */
async function send(transport: Transport, host: string): Promise<string | undefined> {
  const port = proxy.sallyport.transparent[TRANSPORTS.indexOf(transport)]?.port ?? 0;
  const origin = transport === "plain" ? plain : secure;
  const request = `GET / HTTP/1.1\r\nHost: ${host}:${origin.port}\r\n\r\n`;
  if (transport === "plain") {
    await using wire = await dialPort(port);
    return (await wire.write(request).answer()).field("sallyport-reason");
  }
  const trust = transport === "spliced" ? ca.cert : proxy.trustAnchor;
  const socket = connectTls({ host: "127.0.0.1", port, servername: host, ca: trust });
  const failed = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    socket.once("secureConnect", () => resolve(undefined));
    socket.once("error", resolve);
  });
  if (failed !== undefined) return failed.code;
  await using wire = new Wire(socket);
  return (await wire.write(request).answer()).field("sallyport-reason");
}

describe.each(TRANSPORTS)("redirected, %s", (transport) => {
  test.each(CASES)("$host: $reason", async ({ host, reason, resolves }) => {
    const told = await send(transport, host);
    const records = (await proxy.recorded((all) => all.length > recorded && settled(all))).slice(recorded);
    const last = exchanges(records).at(-1);
    const seen = [plain, secure].map(({ received, connections }) => ({ received, connections }));
    if (reason === undefined) {
      expect(told).toBeUndefined();
      expect(last?.decision).toMatchObject({
        verdict: "allow",
        way: "transparent",
        host: host.toLowerCase(),
      });
      expect(seen.filter(({ received }) => received !== "")).toHaveLength(1);
      return;
    }
    expect(seen).toEqual([NOTHING, NOTHING]);
    const { kind } = REASONS[reason];
    expect(last?.decision).toMatchObject({
      verdict: kind === "fault" ? "fault" : "deny",
      way: "transparent",
      reason,
    });
    if (resolves === undefined) expect(names.asked).toEqual([]);
    const page = transport === "plain" || (transport === "intercepted" && resolves === true);
    if (page) expect(told).toBe(reason);
    else expect(told).toMatch(kind === "fault" ? /ALERT_INTERNAL_ERROR/ : /ALERT_ACCESS_DENIED/);
  });
});

describe("asked by DNS", () => {
  test.each(CASES)("$host: $reason", async ({ host, reason, resolves }) => {
    const socket = createSocket("udp4");
    socket.send(question(host), proxy.sallyport.dns[0]?.port ?? 0, "127.0.0.1");
    const [octets] = (await once(socket, "message")) as [Buffer];
    socket.close();
    const answer = readAnswer(octets);
    const records = (await proxy.recorded((all) => all.length > recorded && settled(all))).slice(recorded);
    const [asked] = exchanges(records);
    const allowed = reason === undefined || resolves === true;
    expect(answer).toMatchObject(
      allowed ? { rcode: 0, addresses: ["10.9.9.9"] } : { rcode: 3, addresses: [] },
    );
    expect(asked?.decision).toMatchObject({ kind: "dns", verdict: allowed ? "allow" : "deny" });
    if (!allowed) expect(asked?.decision).toMatchObject({ reason });
    expect(names.asked).toEqual([]);
  });
});

const NOTHING = { received: "", connections: 0 };
