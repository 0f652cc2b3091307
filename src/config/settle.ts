// From the parsed file to `Config`: paths made absolute, bounds gathered, secrets closed.

import { resolve } from "node:path";
import type { Limits } from "../net/limits.ts";
import { Secret } from "../net/secret.ts";
import type { ParsedConfig } from "./schema.ts";
import type { Config, TrustSource } from "./types.ts";

export type Place = {
  /** Relative paths start here. */
  readonly directory: string;
  /** Of the operator's presets, where there is one; absolute. */
  readonly presets: string | undefined;
};

export function settle(parsed: ParsedConfig, place: Place): Config {
  const absolute = (path: string): string => resolve(place.directory, path);
  const { audit, ca, upstream } = parsed;
  return {
    listen: parsed.listen,
    admin: parsed.admin,
    workers: parsed.workers,
    certs: absolute(parsed.certs),
    ca: ca && {
      cert: absolute(ca.cert),
      key: absolute(ca.key),
      chain: ca.chain === undefined ? undefined : absolute(ca.chain),
    },
    presets: place.presets,
    upstream: {
      trust: upstream.trust.map((trust): TrustSource =>
        trust === "system" || trust === "bundled" ? { kind: trust } : { kind: "file", path: absolute(trust) },
      ),
      crls: upstream.crls.map(absolute),
      hosts: upstream.hosts,
      resolvers: upstream.resolvers,
    },
    audit: {
      directory: absolute(audit.directory),
      durability: audit.durability,
      rotate: { octets: audit.rotate.size, daily: audit.rotate.daily },
      privacy: audit.privacy,
    },
    log: parsed.log,
    sandboxes: parsed.sandboxes.map(({ id, secret, policy, phase }) => ({
      id,
      secret: new Secret(secret),
      policies: policy,
      phase,
    })),
    anonymous: parsed.anonymous,
    limits: limits(parsed),
  };
}

function limits({ limits, upstream: { pool } }: ParsedConfig): Limits {
  return {
    connections: limits.connections,
    connectionsPerSource: limits.connections_per_source,
    headOctets: limits.head,
    headFields: limits.headers,
    targetOctets: limits.target,
    headMs: limits.head_time,
    keepAliveMs: limits.idle,
    handshakeMs: limits.handshake,
    bodyIdleMs: limits.body_idle,
    tunnelIdleMs: limits.tunnel_idle,
    connectMs: limits.connect,
    dnsMs: limits.dns,
    upstreamHeadMs: limits.response_head,
    drainMs: limits.drain,
    leaves: limits.leaves,
    mintsPerSecond: limits.mintings,
    mintBurst: limits.mintings_burst,
    upstreamIdleMs: pool.idle,
    upstreamPerOrigin: pool.per_origin,
    upstreamTotal: pool.total,
  };
}
