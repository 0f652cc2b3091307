// What a reload replaces, replaced at once: the snapshot, who is who, and the way to origins.

import type { Current } from "../config/reloader.ts";
import type { Config } from "../config/types.ts";
import { createIdentifier } from "../identity/identify.ts";
import type { Live } from "../proxy/live.ts";
import type { Published } from "../proxy/parts.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Upstream } from "../upstream/engine.ts";
import { createUpstream } from "../upstream/pool.ts";
import { createResolver } from "../upstream/resolve.ts";
import { readTrust, trustIn, type TrustMaterial } from "../upstream/trust.ts";

export class Publisher {
  readonly #metrics: Metrics;
  readonly #live: Live;
  #current: Published | undefined;
  #made: { readonly from: string; readonly upstream: Upstream } | undefined;

  constructor(metrics: Metrics, live: Live) {
    this.#metrics = metrics;
    this.#live = live;
  }

  get current(): Published {
    if (this.#current === undefined) throw new Error("nothing is published yet");
    return this.#current;
  }

  /** `material`: where another process has read it already. */
  publish(
    { generation, config, snapshot }: Pick<Current, "generation" | "config" | "snapshot">,
    material = trustOf(config),
  ): void {
    const { sandboxes, anonymous } = config;
    const identifier = createIdentifier({ sandboxes, anonymous });
    const upstream = this.#upstreamFor(config, material);
    this.#current = { snapshot, generation, identifier, upstream };
    this.#metrics.policyGeneration(generation);
    this.#live.rejudge(this.#current);
  }

  /** Connections stay pooled across reloads that do not concern them. */
  #upstreamFor({ upstream, limits }: Config, material: TrustMaterial): Upstream {
    const trust = trustIn(material);
    const from = JSON.stringify([upstream, [...upstream.hosts], limits, trust.generation]);
    if (this.#made?.from === from) return this.#made.upstream;
    const made = createUpstream({
      resolver: createResolver({
        hosts: Object.fromEntries(upstream.hosts),
        ...(upstream.resolvers !== undefined && { servers: upstream.resolvers }),
        timeoutMs: limits.dnsMs,
      }),
      trust,
      limits,
      on: upstreamEvents(this.#metrics),
    });
    this.#made?.upstream.close();
    this.#made = { from, upstream: made };
    return made;
  }
}

/** Read anew each time: a revocation list is replaced under its name. */
export function trustOf({ upstream }: Config): TrustMaterial {
  return readTrust({
    trust: upstream.trust.map((source) => (source.kind === "file" ? source.path : source.kind)),
    crlFiles: upstream.crls,
  });
}

function upstreamEvents(metrics: Metrics) {
  return {
    opened: () => metrics.upstreamOpen(),
    reused: () => metrics.upstreamReuse(),
    closed: () => metrics.upstreamClose(),
    took: (step: "dns" | "dial" | "tls", ms: number) => metrics.upstreamDuration(step, ms),
    handshake: (outcome: "full" | "resumed" | "failed") => metrics.handshake("upstream", outcome),
  };
}
