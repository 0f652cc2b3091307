// From the parsed file to `Config`: paths made absolute, bounds gathered, secrets closed.

import { resolve } from "node:path";
import { parseNetwork } from "../net/address.ts";
import type { Limits } from "../net/limits.ts";
import { isPostgresUrl } from "../net/postgres-url.ts";
import { Secret } from "../net/secret.ts";
import { listenersOf, socketsOf } from "./listen-schema.ts";
import type { ParsedConfig } from "./schema.ts";
import type { Config, ParentProxy, SecretSources, TrustSource } from "./types.ts";
import type { ParsedParent } from "./upstream-schema.ts";

export type Place = {
  /** Relative paths start here. */
  readonly directory: string;
  /** Of the operator's presets, where there is one; absolute. */
  readonly presets: string | undefined;
  readonly secrets: SecretSources;
};

export function settle(parsed: ParsedConfig, place: Place): Config {
  const absolute = (path: string): string => resolve(place.directory, path);
  const { audit, ca, tls, upstream } = parsed;
  const sources = (trust: readonly string[]): TrustSource[] =>
    trust.map((one) =>
      one === "system" || one === "bundled" ? { kind: one } : { kind: "file", path: absolute(one) },
    );
  const parentOf = ({ url, address, trust }: ParsedParent): ParentProxy => ({
    ...url,
    address,
    trust: trust && sources(trust),
  });
  return {
    listen: listenersOf(parsed.listen),
    sockets: socketsOf(parsed.listen, absolute),
    transparent: parsed.transparent.map(({ listen, port, sandbox }) => ({ listen, port, sandbox })),
    dns: parsed.dns.map(responderOf),
    admin: parsed.admin && adminOf(parsed.admin, absolute),
    workers: parsed.workers,
    certs: absolute(parsed.certs),
    ca: ca && {
      cert: absolute(ca.cert),
      key: absolute(ca.key),
      chain: ca.chain === undefined ? undefined : absolute(ca.chain),
    },
    tls: tls && tlsOf(tls, absolute),
    ticketKeys: parsed.ticket_keys === undefined ? undefined : absolute(parsed.ticket_keys),
    proxyProtocol: parsed.proxy_protocol.flatMap((text) => parseNetwork(text) ?? []),
    presets: place.presets,
    upstream: {
      trust: sources(upstream.trust),
      crls: upstream.crls.map(absolute),
      hosts: upstream.hosts,
      resolvers: upstream.resolvers,
      parent: upstream.parent && parentOf(upstream.parent),
      routes: upstream.routes.map(({ host, ports, parent }) => ({
        host,
        ports,
        parent: parent === "direct" ? undefined : parentOf(parent),
      })),
      http2: upstream.http2,
    },
    audit: {
      directory: absolute(audit.directory),
      durability: audit.durability,
      rotate: { octets: audit.rotate.size, daily: audit.rotate.daily },
      privacy: audit.privacy,
    },
    store: isPostgresUrl(parsed.store)
      ? { kind: "postgres", url: new Secret(parsed.store) }
      : { kind: "sqlite", file: absolute(parsed.store) },
    log: parsed.log,
    sandboxes: parsed.sandboxes.map(({ id, secret, certificate, sources, policy, phase }) => ({
      id,
      secret: secret === undefined ? undefined : new Secret(secret),
      certificate,
      sources,
      policies: policy,
      phase,
    })),
    anonymous: parsed.anonymous,
    http2: parsed.http2,
    approvals: approvalsOf(parsed.approvals),
    limits: limits(parsed),
    secrets: place.secrets,
  };
}

function adminOf(
  { listen, socket, hosts, open }: Exclude<ParsedConfig["admin"], false>,
  absolute: (path: string) => string,
): Config["admin"] {
  const path = absolute(socket);
  return { ...listen, socket: Buffer.byteLength(path) > MAX_SOCKET_PATH ? undefined : path, hosts, open };
}

/** Octets of `sun_path`, less the one that ends it. */
const MAX_SOCKET_PATH = 107;

function approvalsOf({ pending, webhook }: ParsedConfig["approvals"]): Config["approvals"] {
  return {
    pendingMs: pending,
    webhook: webhook && { url: webhook.url, secret: new Secret(webhook.secret) },
  };
}

function responderOf(dns: ParsedConfig["dns"][number]): Config["dns"][number] {
  const { listen, answer, ttl, sandbox, questions, questions_burst } = dns;
  return {
    listen,
    answer,
    ttlSeconds: Math.ceil(ttl / 1000),
    sandbox,
    questionsPerSecond: questions,
    questionBurst: questions_burst,
  };
}

function tlsOf(
  tls: NonNullable<ParsedConfig["tls"]>,
  absolute: (path: string) => string,
): NonNullable<Config["tls"]> {
  const { names, cert, key, client_ca, client_certificates } = tls;
  return {
    names,
    certificate:
      cert === undefined || key === undefined ? undefined : { cert: absolute(cert), key: absolute(key) },
    clientCa: client_ca === undefined ? undefined : absolute(client_ca),
    clientCertificates: client_certificates ?? "optional",
  };
}

function limits({ limits, upstream: { pool } }: ParsedConfig): Limits {
  return {
    connections: limits.connections,
    connectionsPerSource: limits.connections_per_source,
    headOctets: limits.head,
    headFields: limits.headers,
    targetOctets: limits.target,
    streams: limits.streams,
    headMs: limits.head_time,
    keepAliveMs: limits.idle,
    handshakeMs: limits.handshake,
    bodyIdleMs: limits.body_idle,
    tunnelIdleMs: limits.tunnel_idle,
    connectMs: limits.connect,
    dnsMs: limits.dns,
    upstreamHeadMs: limits.response_head,
    approvalMs: limits.approval,
    drainMs: limits.drain,
    leaves: limits.leaves,
    mintsPerSecond: limits.mintings,
    mintBurst: limits.mintings_burst,
    upstreamIdleMs: pool.idle,
    upstreamPerOrigin: pool.per_origin,
    upstreamTotal: pool.total,
  };
}
