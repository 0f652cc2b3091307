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
import { createTrust } from "../upstream/trust.ts";

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

  publish({ generation, config, snapshot }: Current): void {
    const { sandboxes, anonymous } = config;
    const identifier = createIdentifier({ sandboxes, anonymous });
    const upstream = this.#upstreamFor(config);
    this.#current = { snapshot, generation, identifier, upstream };
    this.#metrics.policyGeneration(generation);
    this.#live.rejudge(this.#current);
  }

  /** Connections stay pooled across reloads that do not concern them. */
  #upstreamFor({ upstream, limits }: Config): Upstream {
    // Read anew each time: a revocation list is replaced under its name.
    const trust = createTrust({
      trust: upstream.trust.map((source) => (source.kind === "file" ? source.path : source.kind)),
      crlFiles: upstream.crls,
    });
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
      http2: upstream.http2,
      on: upstreamEvents(this.#metrics),
    });
    this.#made?.upstream.close();
    this.#made = { from, upstream: made };
    return made;
  }
}

function upstreamEvents(metrics: Metrics) {
  return {
    opened: (protocol: "http/1.1" | "h2") => metrics.upstreamOpen(protocol),
    reused: () => metrics.upstreamReuse(),
    closed: () => metrics.upstreamClose(),
    took: (step: "dns" | "dial" | "tls", ms: number) => metrics.upstreamDuration(step, ms),
    handshake: (outcome: "full" | "resumed" | "failed") => metrics.handshake("upstream", outcome),
  };
}
