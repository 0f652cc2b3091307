// What a reload replaces, replaced at once: the snapshot, who is who, and the way to origins.

import { hostname } from "node:os";
import type { Current } from "../config/reloader.ts";
import type { Config } from "../config/types.ts";
import { createIdentifier } from "../identity/identify.ts";
import { Roster, type RosterItem, type RosterUpdate } from "../identity/roster.ts";
import type { Live } from "../proxy/live.ts";
import type { Parts, Published } from "../proxy/parts.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { createProxyTls, type ProxyTlsOptions } from "../tls/proxy-tls.ts";
import type { Upstream } from "../upstream/engine.ts";
import { createParents } from "../upstream/parents.ts";
import { createUpstream } from "../upstream/pool.ts";
import { createResolver } from "../upstream/resolve.ts";
import { trustIn } from "../upstream/trust.ts";
import { type Materials, readMaterials } from "./materials.ts";
import { parentsOf } from "./parents.ts";

export type PublisherOptions = {
  readonly metrics: Metrics;
  readonly live: Live;
  readonly own: Parts["own"];
  /** What sandboxes that connect by TLS are shown, for one of the proxy's names. */
  readonly leafFor: ProxyTlsOptions["leafFor"];
  /** Seal session tickets where no file says other ones; shared by the workers of one primary. */
  readonly ticketKeys: Uint8Array;
};

export class Publisher {
  readonly #metrics: Metrics;
  readonly #live: Live;
  readonly #own: Parts["own"];
  readonly #leafFor: ProxyTlsOptions["leafFor"];
  readonly #roster = new Roster();
  readonly #ownTicketKeys: Buffer;
  #ticketKeys: Buffer;
  #current: Published | undefined;
  #revision = 0;
  #made: { readonly from: string; readonly upstream: Upstream } | undefined;

  constructor({ metrics, live, own, leafFor, ticketKeys }: PublisherOptions) {
    this.#metrics = metrics;
    this.#live = live;
    this.#own = own;
    this.#leafFor = leafFor;
    this.#ownTicketKeys = this.#ticketKeys = Buffer.from(ticketKeys);
  }

  get current(): Published {
    if (this.#current === undefined) throw new Error("nothing is published yet");
    return this.#current;
  }

  /** The same object until they change. */
  get ticketKeys(): Buffer {
    return this.#ticketKeys;
  }

  /** `materials`: where another process has read them already. */
  publish(
    { generation, config, snapshot }: Pick<Current, "generation" | "config" | "snapshot">,
    materials = readMaterials(config),
  ): void {
    const { sandboxes, anonymous } = config;
    const identifier = createIdentifier({ sandboxes, anonymous, roster: this.#roster });
    const ticketKeys = this.#ticketKeysIn(materials);
    const tls = this.#tlsFor(config, materials, ticketKeys);
    const upstream = this.#upstreamFor(config, materials);
    this.#ticketKeys = ticketKeys;
    const revision = ++this.#revision;
    this.#current = { snapshot, generation, revision, identifier, upstream, tls };
    this.#metrics.policyGeneration(generation);
    this.#live.rejudge(this.#current);
  }

  /** What holds for sandboxes has changed: whoever it concerns is judged again, and nothing kept for them is used again. */
  takeRoster(update: RosterUpdate): void {
    // A network that becomes somebody's, or nobody's, concerns whoever comes from there, whatever their name was.
    const moved = update.items.some(
      ([id, item]) => hasSources(item) || hasSources(this.#roster.items.get(id)),
    );
    this.#roster.take(update);
    const { identifier, upstream } = this.current;
    const ids = update.items.map(([id]) => id);
    identifier.changed(ids);
    if (update.everyone !== undefined) identifier.changed(undefined);
    this.#current = { ...this.current, revision: ++this.#revision };
    const concerned = new Set<string | undefined>(ids);
    const everyone = update.everyone !== undefined || moved;
    this.#live.rejudge(this.#current, everyone ? undefined : (sandbox) => concerned.has(sandbox));
    for (const id of ids) upstream.drop(`id ${id}`);
    if (update.everyone?.lockdown !== undefined) upstream.drop(undefined);
  }

  #ticketKeysIn({ ticketKeys = this.#ownTicketKeys }: Materials): Buffer {
    return this.#ticketKeys.equals(ticketKeys) ? this.#ticketKeys : Buffer.from(ticketKeys);
  }

  #tlsFor({ tls }: Config, { tls: files }: Materials, ticketKeys: Buffer): Published["tls"] {
    if (tls === undefined || files === undefined) return undefined;
    const { names, clientCertificates } = tls;
    const leafFor = this.#leafFor;
    return createProxyTls({ ...files, names, clientCertificates, leafFor, ticketKeys, now: Date.now });
  }

  /** Connections stay pooled across reloads that do not concern them. */
  #upstreamFor(config: Config, materials: Materials): Upstream {
    const { upstream, limits } = config;
    const trust = trustIn(materials.origins);
    const { routes, fingerprint } = parentsOf(config, trust, materials);
    const from = JSON.stringify([upstream, [...upstream.hosts], limits, trust.generation, fingerprint]);
    if (this.#made?.from === from) return this.#made.upstream;
    const resolver = createResolver({
      hosts: Object.fromEntries(upstream.hosts),
      ...(upstream.resolvers !== undefined && { servers: upstream.resolvers }),
      timeoutMs: limits.dnsMs,
    });
    const own = this.#own;
    const made = createUpstream({
      resolver,
      ...(routes && {
        parents: createParents({ ...routes, resolver, limits, own, ownNames: [hostname().toLowerCase()] }),
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

function hasSources(item: RosterItem | undefined): boolean {
  return (item?.registered?.sources.length ?? 0) > 0;
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
