// One list of verdicts, over every way that a request can take. Where something is denied, the origin got no octet, and
// where that is known before the dial no connection; nobody was asked for the address of a name that is not permitted.

import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { REASONS, type Reason } from "../../src/net/reasons.ts";
import { createNameServer, type NameServer, type Zone } from "../support/dns.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { frame, Frames } from "../support/http2-frames.ts";
import { type Answer, dialPort, exchanges, openTunnel, settled, Wire } from "./wire.ts";

const TRANSPORTS = [
  "absolute",
  "intercepted",
  "http2",
  "spliced",
  "websocket",
  "websocket-intercepted",
] as const;
type Transport = (typeof TRANSPORTS)[number];

type Case = {
  readonly name: string;
  readonly host?: string;
  /** Instead of the origin's. */
  readonly port?: (ports: { proxy: number; admin: number; origin: number }) => number;
  readonly method?: string;
  readonly path?: string;
  readonly headers?: string;
  readonly body?: string;
  readonly sni?: string;
  /** Host field, instead of the target. */
  readonly hostField?: string;
  readonly credentials?: string;
  /** Absent: allowed. */
  readonly reason?: Reason;
  /** Where the target is not the request's own authority but part of a URL. */
  readonly inUrl?: Reason;
  /** Known from the name alone: in a tunnel the CONNECT is refused. */
  readonly atConnect?: true;
  /** Refused only once addresses are known: the tunnel is opened, the request in it refused. */
  readonly resolves?: true;
  readonly skip?: Partial<Record<Transport, string>>;
};

const UNREAD = "what runs in a spliced tunnel is not read";
const UNLIMITED = "runs under methods: all, as this transport needs";
const unread = { spliced: UNREAD } as const;
const limited = { spliced: UNREAD, websocket: UNLIMITED, "websocket-intercepted": UNLIMITED } as const;
const onlyTunnels = { absolute: "there is no tunnel", websocket: "there is no tunnel" } as const;

const at = (host: string, reason: Reason): Case => ({
  name: `${host}: ${reason}`,
  host,
  reason,
  resolves: true,
});
const named = (host: string, reason: Reason): Case => ({
  name: `${host}: ${reason}`,
  host,
  reason,
  ...(reason === "authority-malformed" && { inUrl: "target-malformed" }),
  atConnect: true,
});

const CASES: readonly Case[] = [
  { name: "exact host" },
  { name: "upper case", host: "ORIGIN.TEST" },
  { name: "trailing dot", host: "origin.test." },
  { name: "below a wildcard", host: "a.wild.test" },
  { name: "two labels below a wildcard", host: "b.a.wild.test" },
  { name: "the zone of a double wildcard", host: "both.test" },
  { name: "below a double wildcard", host: "a.both.test" },
  { name: "wildcard inside a label", host: "api-1.part.test" },
  { name: "address literal that a rule names", host: "127.0.0.1" },
  { name: "deny rule that has expired", host: "once-denied.wild.test" },

  named("other.test", "host-not-allowed"),
  named("evil-origin.test", "host-not-allowed"),
  named("origin.test.evil.test", "host-not-allowed"),
  named("sub.origin.test", "host-not-allowed"),
  named("wild.test", "host-not-allowed"),
  named("evilwild.test", "host-not-allowed"),
  named("xboth.test", "host-not-allowed"),
  named("api-1.x.part.test", "host-not-allowed"),
  named("expired.test", "host-not-allowed"),
  named("denied.wild.test", "host-denied"),
  named("DENIED.wild.test.", "host-denied"),
  named("127.0.0.2", "address-literal"),
  named("[::1]", "address-literal"),
  named("[::ffff:127.0.0.1]", "address-literal"),
  named("127.1", "authority-malformed"),
  named("2130706433", "authority-malformed"),
  named("0x7f000001", "authority-malformed"),
  named("0177.0.0.1", "authority-malformed"),
  named("127.0.0.1.", "authority-malformed"),
  named("origin..test", "authority-malformed"),
  named("user@origin.test", "authority-malformed"),
  named("origin.test%2eevil.test", "authority-malformed"),
  {
    name: "port that the rule does not name",
    host: "ports.test",
    reason: "port-not-allowed",
    atConnect: true,
  },
  {
    name: "own listener",
    host: "origin.test",
    port: ({ proxy }) => proxy,
    reason: "address-own",
    resolves: true,
  },
  {
    name: "admin listener",
    host: "origin.test",
    port: ({ admin }) => admin,
    reason: "address-own",
    resolves: true,
  },

  at("loopback.test", "address-loopback"),
  at("loopback6.test", "address-loopback"),
  at("private.test", "address-private"),
  at("unique-local.test", "address-private"),
  at("link-local.test", "address-link-local"),
  at("metadata.test", "address-metadata"),
  at("cgnat.test", "address-cgnat"),
  at("multicast.test", "address-multicast"),
  at("unspecified.test", "address-reserved"),
  at("mapped.test", "address-embedded"),
  at("nat64.test", "address-embedded"),
  at("alias.test", "address-private"),
  { name: "name that does not exist", host: "gone.test", reason: "dns-not-found", resolves: true },

  { name: "GET", method: "GET", skip: limited },
  { name: "HEAD", method: "HEAD", skip: limited },
  { name: "OPTIONS", method: "OPTIONS", skip: limited },
  { name: "POST", method: "POST", body: "x", reason: "method-not-allowed", skip: limited },
  { name: "empty POST", method: "POST", reason: "method-not-allowed", skip: limited },
  { name: "PUT", method: "PUT", body: "x", reason: "method-not-allowed", skip: limited },
  { name: "DELETE", method: "DELETE", reason: "method-not-allowed", skip: limited },
  { name: "get in lower case", method: "get", reason: "method-not-allowed", skip: limited },
  { name: "GET with a body", method: "GET", body: "x", reason: "body-not-allowed", skip: limited },
  {
    name: "GET with a chunked body",
    headers: "Transfer-Encoding: chunked\r\n",
    body: "0\r\n\r\n",
    reason: "body-not-allowed",
    skip: limited,
  },
  {
    name: "method override",
    headers: "X-HTTP-Method-Override: DELETE\r\n",
    reason: "method-override",
    skip: limited,
  },
  {
    name: "method override by a look-alike",
    headers: "X_HTTP_Method_Override: DELETE\r\n",
    reason: "method-override",
    skip: limited,
  },
  {
    name: "upgrade under a method limit",
    headers: "Connection: Upgrade\r\nUpgrade: websocket\r\n",
    reason: "upgrade-not-allowed",
    skip: limited,
  },
  { name: "clone", path: "/r.git/info/refs?service=git-upload-pack", skip: limited },
  {
    name: "push",
    path: "/r.git/info/refs?service=git-receive-pack",
    reason: "push-not-allowed",
    skip: limited,
  },
  {
    name: "pushed pack",
    method: "POST",
    path: "/r.git/git-receive-pack",
    body: "x",
    reason: "push-not-allowed",
    skip: limited,
  },

  { name: "path that a rule names", host: "paths.test", path: "/ok/x", skip: unread },
  {
    name: "another path",
    host: "paths.test",
    path: "/other",
    reason: "path-not-allowed",
    skip: unread,
  },
  {
    name: "path that climbs",
    host: "paths.test",
    path: "/ok/../other",
    reason: "path-not-allowed",
    skip: unread,
  },
  {
    name: "path that climbs encoded",
    host: "paths.test",
    path: "/ok/%2e%2e%2fother",
    reason: "path-not-allowed",
    skip: unread,
  },
  {
    name: "path of two readings",
    host: "paths.test",
    path: "/ok/..%252fother",
    reason: "path-ambiguous",
    skip: unread,
  },
  {
    name: "denied path",
    host: "deny-path.wild.test",
    path: "/secret/x",
    reason: "host-denied",
    skip: unread,
  },
  {
    name: "denied path, encoded",
    host: "deny-path.wild.test",
    path: "/%73ecret/x",
    reason: "host-denied",
    skip: unread,
  },
  {
    name: "denied path with two slashes",
    host: "deny-path.wild.test",
    path: "//secret/x",
    reason: "host-denied",
    skip: unread,
  },

  {
    name: "Host of another name",
    hostField: "other.test",
    reason: "host-mismatch",
    skip: { spliced: UNREAD },
  },
  {
    name: "Host with another port",
    hostField: "origin.test:1",
    reason: "host-mismatch",
    skip: { spliced: UNREAD },
  },
  {
    name: "Host with userinfo",
    hostField: "origin.test@other.test",
    reason: "authority-malformed",
    skip: { spliced: UNREAD },
  },
  {
    name: "own Via",
    headers: "Via: 1.0 fred, 1.1 {pseudonym}\r\n",
    reason: "loop-detected",
    skip: { spliced: UNREAD },
  },
  { name: "another SNI", sni: "a.wild.test", reason: "sni-mismatch", skip: onlyTunnels },
];

/** After the others: wrong ones make their source wait. */
const CREDENTIALS: readonly Case[] = [
  { name: "no credentials", credentials: "", reason: "credentials-missing", atConnect: true },
  {
    name: "wrong secret",
    credentials: "Proxy-Authorization: Basic {wrong}\r\n",
    reason: "credentials-wrong",
    atConnect: true,
  },
  {
    name: "another scheme",
    credentials: "Proxy-Authorization: Bearer {right}\r\n",
    reason: "credentials-wrong",
    atConnect: true,
  },
  {
    name: "right credentials twice",
    credentials: "Proxy-Authorization: Basic {right}\r\nProxy-Authorization: Basic {right}\r\n",
    reason: "credentials-wrong",
    atConnect: true,
  },
];

const ZONES: Record<string, Zone> = {
  "origin.test": { a: ["127.0.0.1"] },
  "a.wild.test": { a: ["127.0.0.1"] },
  "b.a.wild.test": { a: ["127.0.0.1"] },
  "once-denied.wild.test": { a: ["127.0.0.1"] },
  "deny-path.wild.test": { a: ["127.0.0.1"] },
  "both.test": { a: ["127.0.0.1"] },
  "a.both.test": { a: ["127.0.0.1"] },
  "api-1.part.test": { a: ["127.0.0.1"] },
  "paths.test": { a: ["127.0.0.1"] },
  "loopback.test": { a: ["127.0.0.1"] },
  "loopback6.test": { aaaa: ["::1"] },
  "private.test": { a: ["10.0.0.1", "192.168.1.1"] },
  "unique-local.test": { aaaa: ["fd00::1"] },
  "link-local.test": { aaaa: ["fe80::1"] },
  "metadata.test": { a: ["169.254.169.254"] },
  "cgnat.test": { a: ["100.64.0.1"] },
  "multicast.test": { a: ["224.0.0.1"] },
  "unspecified.test": { a: ["0.0.0.0"] },
  "mapped.test": { aaaa: ["::ffff:7f00:1"] },
  "nat64.test": { aaaa: ["64:ff9b::a00:1"] },
  "alias.test": { cname: "inside.test" },
  "inside.test": { a: ["10.0.0.1"] },
};

const LOCAL = "networks: [127.0.0.0/8]";
const RULES = `
    preset: none
    intents: [git-fetch]
    allow:
      - { host: origin.test, ${LOCAL} }
      - { host: "*.wild.test", ${LOCAL} }
      - { host: "**.both.test", ${LOCAL} }
      - { host: "api-*.part.test", ${LOCAL} }
      - { host: 127.0.0.1 }
      - { host: ports.test, ports: [1], ${LOCAL} }
      - { host: expired.test, expires: 2020-01-01T00:00:00Z, ${LOCAL} }
      - { host: loopback.test }
      - { host: loopback6.test }
      - { host: private.test }
      - { host: unique-local.test }
      - { host: link-local.test }
      - { host: metadata.test, networks: [169.254.0.0/16] }
      - { host: cgnat.test }
      - { host: multicast.test }
      - { host: unspecified.test }
      - { host: mapped.test, ${LOCAL} }
      - { host: nat64.test, networks: [10.0.0.0/8] }
      - { host: alias.test }
      - { host: gone.test }

`;
const NARROW = `
      - { host: paths.test, paths: [/ok/**], ${LOCAL} }
`;
const DENIED = `
    deny:
      - { host: denied.wild.test }
      - { host: once-denied.wild.test, expires: 2020-01-01T00:00:00Z }
`;
const DENIED_PATHS = `
      - { host: deny-path.wild.test, paths: [/secret/**] }
`;

let ca: Issued;
let plain: RecordingOrigin;
let secure: RecordingOrigin;
let dns: NameServer;
let proxy: RunningSallyport;
let pseudonym: string;
let recorded = 0;

const basic = (text: string): string => Buffer.from(text).toString("base64");

beforeAll(async () => {
  ca = createCa();
  const names = Object.keys(ZONES);
  const certificate = ca.issue({ names: [...names, "127.0.0.1"] });
  plain = await recordingOrigin();
  secure = await recordingOrigin(certificate);
  dns = await createNameServer(ZONES);
  const trust = join(tmpdir(), `sallyport-verdicts-${process.pid}.pem`);
  await writeFile(trust, ca.cert);
  proxy = await runSallyport(`
upstream: { trust: [${trust}], resolvers: ["${dns.address}"] }
policies:
  limited:
    methods: read-only${RULES}${NARROW}${DENIED}${DENIED_PATHS}
  open:
    methods: all${RULES}${NARROW}${DENIED}${DENIED_PATHS}
  spliced:
    methods: all${RULES}${DENIED}
    splice: ["**.test", 127.0.0.1]
sandboxes:
  - { id: limited, secret: limited-secret, policy: limited }
  - { id: open, secret: open-secret, policy: open }
  - { id: spliced, secret: spliced-secret, policy: spliced }
`);
  await using wire = await dialPort(proxy.port);
  wire.write(
    `GET http://origin.test:${plain.port}/ HTTP/1.1\r\nHost: origin.test:${plain.port}\r\nProxy-Authorization: Basic ${basic("limited:limited-secret")}\r\n\r\n`,
  );
  pseudonym = /1\.1 (\S+)/.exec((await wire.answer()).field("via") ?? "")?.[1] ?? "";
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
  await secure[Symbol.asyncDispose]();
  await dns[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  plain.reset();
  secure.reset();
  dns.asked.length = 0;
});

const SANDBOX: Record<Transport, string> = {
  absolute: "limited",
  intercepted: "limited",
  http2: "limited",
  spliced: "spliced",
  websocket: "open",
  "websocket-intercepted": "open",
};

type Sent = { readonly answer: Answer | Error; readonly refusedAtConnect: boolean };

async function send(transport: Transport, one: Case): Promise<Sent> {
  const tunnelled = transport !== "absolute" && transport !== "websocket";
  const origin = tunnelled ? secure : plain;
  const host = one.host ?? "origin.test";
  const ports = { proxy: proxy.port, admin: proxy.adminPort, origin: origin.port };
  const authority = `${host}:${one.port?.(ports) ?? origin.port}`;
  const id = SANDBOX[transport];
  const fill = (text: string): string =>
    text
      .replaceAll("{pseudonym}", pseudonym)
      .replaceAll("{right}", basic(`${id}:${id}-secret`))
      .replaceAll("{wrong}", basic(`${id}:another-secret`));
  const credentials = fill(one.credentials ?? "Proxy-Authorization: Basic {right}\r\n");
  const upgrade = transport.startsWith("websocket")
    ? "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    : "";
  const { method = "GET", path = "/", headers = "", body = "" } = one;
  const length = body === "" || headers.includes("chunked") ? "" : `Content-Length: ${body.length}\r\n`;
  const target = tunnelled ? path : `http://${authority}${path}`;
  const request = `${method} ${target} HTTP/1.1\r\nHost: ${one.hostField ?? authority}\r\n${
    tunnelled ? "" : credentials
  }${upgrade}${fill(headers)}${length}\r\n${body}`;
  if (!tunnelled) {
    await using wire = await dialPort(proxy.port);
    return { answer: await wire.write(request).answer(method), refusedAtConnect: false };
  }
  const tunnel = await openTunnel({
    port: proxy.port,
    target: authority,
    headers: credentials,
    tls: {
      ca: transport === "spliced" ? ca.cert : proxy.trustAnchor,
      ...(host.startsWith("[") || /^[\d.]+$/.test(host)
        ? { checkServerIdentity: () => undefined }
        : { servername: one.sni ?? host.replace(/\.$/, "") }),
      ...(transport === "http2" && { ALPNProtocols: ["h2"] }),
    },
  });
  if (!(tunnel instanceof Wire)) return { answer: tunnel, refusedAtConnect: true };
  await using wire = tunnel;
  if (transport === "http2") {
    const lines = fill(headers + length)
      .split("\r\n")
      .filter((line) => line !== "");
    const fields = lines.map((line) => {
      const [name = "", ...value] = line.split(": ");
      return [name.toLowerCase(), value.join(": ")] as const;
    });
    const host = one.hostField === undefined ? [] : [["host", one.hostField] as const];
    using frames = Frames.over(wire, authority);
    frames.headers(
      1,
      [...frames.request({ ":method": method, ":path": path }), ...host, ...fields],
      body === "" ? 5 : 4,
    );
    if (body !== "") frames.send(frame(0, 1, 1, body));
    return { answer: await frames.answer(1), refusedAtConnect: false };
  }
  return { answer: await wire.write(request).answer(method), refusedAtConnect: false };
}

describe.each(TRANSPORTS)("%s", (transport) => {
  for (const one of CASES) {
    const unsayable =
      transport === "http2" && /^(?:connection|upgrade|transfer-encoding):/im.test(one.headers ?? "");
    const skip = unsayable ? "malformed in HTTP/2: test/conformance" : one.skip?.[transport];
    const name = skip === undefined ? one.name : `${one.name} (${skip})`;
    test.skipIf(skip !== undefined)(name, () => judge(transport, one));
  }
});

describe.each(TRANSPORTS)("credentials, %s", (transport) => {
  test.each(CREDENTIALS)("$name", (one) => judge(transport, one));
});

async function judge(transport: Transport, one: Case): Promise<void> {
  const { answer, refusedAtConnect } = await send(transport, one);
  const records = (await proxy.recorded((all) => all.length > recorded && settled(all))).slice(recorded);
  const found = exchanges(records);
  const last = found.at(-1);
  const { method = "GET", headers = "" } = one;
  const tunnelled = transport !== "absolute" && transport !== "websocket";
  const reason = tunnelled ? one.reason : (one.inUrl ?? one.reason);
  const seen = [plain, secure].map(({ received, connections }) => ({ received, connections }));

  if (reason === undefined) {
    expect(answer).toMatchObject({ status: 200 });
    expect(last?.decision).toMatchObject({ verdict: "allow" });
    expect(last?.completion).toMatchObject({ outcome: "completed" });
    expect(seen.filter(({ received }) => received !== "")).toHaveLength(1);
    return;
  }
  expect(seen).toEqual([NOTHING, NOTHING]);
  const { kind, status, proxyError, text } = REASONS[reason];
  expect(last?.decision).toMatchObject({ verdict: kind === "fault" ? "fault" : "deny", reason });
  expect(last?.completion).toMatchObject({ reason });
  expect(found.slice(0, -1).map(({ decision }) => decision["verdict"])).not.toContain("deny");
  if (one.resolves === undefined && one.atConnect !== undefined) expect(dns.asked).toEqual([]);
  if (reason === "sni-mismatch") {
    expect(answer).toBeInstanceOf(Error);
    expect(last?.decision["kind"]).toBe("handshake");
    return;
  }
  expect(refusedAtConnect).toBe(tunnelled && (one.atConnect === true || transport === "spliced"));
  if (answer instanceof Error) throw answer;
  expect(answer.status).toBe(status);
  expect(answer.field("sallyport-reason")).toBe(reason);
  expect(answer.field("proxy-status")).toBe(`sallyport; error=${proxyError}; details="${reason}"`);
  expect(answer.field("sallyport-audit-id")).toBe(last?.decision["id"]);
  expect(answer.head).not.toContain("-secret");
  if (method !== "HEAD") expect(answer.body).toContain(text);
  const asksForUpgrade = transport.startsWith("websocket") || headers.includes("Upgrade:");
  // What was not understood is not called an upgrade yet.
  const kinds = refusedAtConnect ? ["connect"] : asksForUpgrade ? ["upgrade", "request"] : ["request"];
  expect(kinds).toContain(last?.decision["kind"]);
}

const NOTHING = { received: "", connections: 0 };
