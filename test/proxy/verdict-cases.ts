// What is asked over every way into the proxy, and the verdict that each must get; the names, addresses and policies for it.

import type { Reason } from "../../src/net/reasons.ts";
import type { Zone } from "../support/dns.ts";
import type { Way } from "./verdict-ways.ts";

export type Case = {
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
  /** Authority in the request's own target: in HTTP/1 in absolute form, in HTTP/2 `:authority`. */
  readonly targetField?: string;
  readonly credentials?: string;
  /** Absent: allowed. */
  readonly reason?: Reason;
  /** Where the target is not the request's own authority but part of a URL. */
  readonly inUrl?: Reason;
  /** Known from the name alone: in a tunnel the CONNECT is refused. */
  readonly atConnect?: true;
  /** Refused only once addresses are known: the tunnel is opened, the request in it refused. */
  readonly resolves?: true;
  /** Where there is no proxy to be asked, and Host alone says where it goes. */
  readonly inHost?: Reason;
  /** Why this cannot be asked that way. */
  readonly skip?: Skip;
};

type Skip = (way: Way) => string | undefined;
const unread: Skip = ({ spliced }) => (spliced ? "what runs in a spliced tunnel is not read" : undefined);
const limited: Skip = (way) =>
  unread(way) ?? (way.upgrade ? "runs under methods: all, as upgrades need" : undefined);
const onlyNamedTwice: Skip = ({ door, inside }) =>
  (door === "connect" || door === "socks5") && inside !== "http" ? undefined : "no name stands there twice";
const onlyInside: Skip = (way) =>
  unread(way) ?? (way.door === "absolute" ? "that is where it goes" : undefined);
const anyPort: Skip = ({ door }) => (door === "redirected" ? "the port is the listener's" : undefined);
const fields: Skip = ({ door }) =>
  door === "redirected"
    ? "the listener says who it is"
    : door === "socks5"
      ? "cannot be said in SOCKS5"
      : undefined;
const anyCredentials: Skip = ({ door }) =>
  door === "redirected" ? "the listener says who it is" : undefined;

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

export const CASES: readonly Case[] = [
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
    skip: anyPort,
    reason: "address-own",
    resolves: true,
  },
  {
    name: "admin listener",
    host: "origin.test",
    port: ({ admin }) => admin,
    skip: anyPort,
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
  named("required.wild.test", "requirement"),
  at("required-network.test", "requirement"),
  at("required-embedded.test", "requirement"),
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
    inHost: "host-not-allowed",
    skip: unread,
  },
  {
    name: "Host with another port",
    hostField: "origin.test:1",
    reason: "host-mismatch",
    skip: unread,
  },
  {
    name: "Host with userinfo",
    hostField: "origin.test@other.test",
    reason: "authority-malformed",
    skip: unread,
  },
  {
    name: "target of another name that is allowed",
    targetField: "a.wild.test",
    reason: "host-mismatch",
    inHost: "not-a-proxy",
    skip: onlyInside,
  },
  {
    name: "target of another port",
    targetField: "origin.test:1",
    reason: "host-mismatch",
    inHost: "not-a-proxy",
    skip: onlyInside,
  },
  {
    name: "own Via",
    headers: "Via: 1.0 fred, 1.1 {pseudonym}\r\n",
    reason: "loop-detected",
    skip: unread,
  },
  { name: "another SNI", sni: "a.wild.test", reason: "sni-mismatch", skip: onlyNamedTwice },
];

/** After the others: wrong ones make their source wait. */
export const CREDENTIALS: readonly Case[] = [
  {
    name: "no credentials",
    credentials: "",
    reason: "credentials-missing",
    atConnect: true,
    skip: anyCredentials,
  },
  {
    name: "wrong secret",
    credentials: "Proxy-Authorization: Basic {wrong}\r\n",
    reason: "credentials-wrong",
    atConnect: true,
    skip: anyCredentials,
  },
  {
    name: "another scheme",
    credentials: "Proxy-Authorization: Bearer {right}\r\n",
    reason: "credentials-wrong",
    atConnect: true,
    skip: fields,
  },
  {
    name: "right credentials twice",
    credentials: "Proxy-Authorization: Basic {right}\r\nProxy-Authorization: Basic {right}\r\n",
    reason: "credentials-wrong",
    atConnect: true,
    skip: fields,
  },
];

export const ZONES: Record<string, Zone> = {
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
  "required-network.test": { a: ["10.77.0.1"] },
  "required-embedded.test": { aaaa: ["64:ff9b::a4d:1"] },
  "alias.test": { cname: "inside.test" },
  "inside.test": { a: ["10.0.0.1"] },
};

const LOCAL = "networks: [127.0.0.0/8]";
const SHARED = `
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
      - { host: required-network.test, networks: [10.0.0.0/8] }
      - { host: required-embedded.test, networks: ["64:ff9b::a4d:0/120"] }
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

export const POLICIES = `
policies:
  limited:
    methods: read-only${SHARED}${NARROW}${DENIED}${DENIED_PATHS}
  open:
    methods: all${SHARED}${NARROW}${DENIED}${DENIED_PATHS}
  spliced:
    methods: all${SHARED}${DENIED}
    splice: ["**.test", 127.0.0.1]
sandboxes:
  - { id: limited, secret: limited-secret, policy: limited }
  - { id: open, secret: open-secret, policy: open }
  - { id: spliced, secret: spliced-secret, policy: spliced }
`;

/** Of an administrator, beside them. */
export const REQUIREMENTS = "deny: [required.wild.test, 10.77.0.0/16]\n";
