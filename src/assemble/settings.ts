// A judged configuration as it crosses from the primary to its workers, and back into what the parts take. What bounds the
// whole proxy is shared out, so that the workers together hold to it.

import { availableParallelism } from "node:os";
import type { Settings, SharedConfig } from "../cluster/messages.ts";
import type { Current } from "../config/reloader.ts";
import type { Config, ParentProxy } from "../config/types.ts";
import type { Limits } from "../net/limits.ts";
import { Secret } from "../net/secret.ts";
import { compile } from "../policy/compile.ts";
import { createProxyTls } from "../tls/proxy-tls.ts";
import { TICKET_KEYS_OCTETS } from "../tls/ticket-keys.ts";
import { trustIn } from "../upstream/trust.ts";
import { type Materials, readMaterials } from "./materials.ts";

export function workerCount({ workers }: Config): number {
  return workers === "auto" ? Math.min(availableParallelism(), MOST) : workers;
}

/** Reads the files that it names; throws where one cannot be used. */
export function settingsOf(
  { generation, config, policies, requirements }: Current,
  workers: number,
): Settings {
  const materials = readMaterials(config);
  refuseUnusable(config, materials);
  const shared = {
    ...config,
    limits: shareOf(config.limits, workers),
    dns: dnsShareOf(config.dns, workers),
    approvals: { ...config.approvals, webhook: undefined },
  };
  return {
    generation,
    policies: told(policies) as Settings["policies"],
    requirements,
    materials,
    config: told(shared) as SharedConfig,
  };
}

export function currentOf({
  generation,
  config,
  policies,
  requirements,
}: Settings): Pick<Current, "generation" | "config" | "snapshot"> {
  const compiled = compile({
    generation,
    policies: policies.map(({ secrets, ...policy }) => ({
      ...policy,
      ...(secrets && { secrets: secrets.map((one) => ({ ...one, value: new Secret(one.value) })) }),
    })),
    requirements,
  });
  if ("problems" in compiled) throw new Error("the primary's policies do not compile");
  const { upstream } = config;
  const parentOf = (parent: Told["parent"]): ParentProxy | undefined =>
    parent && { ...parent, credentials: secretOf(parent.credentials) };
  return {
    generation,
    config: {
      ...config,
      // The primary's to tell.
      approvals: { ...config.approvals, webhook: undefined },
      store:
        config.store.kind === "postgres"
          ? { kind: "postgres", url: new Secret(config.store.url) }
          : config.store,
      sandboxes: config.sandboxes.map((sandbox) => ({ ...sandbox, secret: secretOf(sandbox.secret) })),
      upstream: {
        ...upstream,
        parent: parentOf(upstream.parent),
        routes: upstream.routes.map((route) => ({ ...route, parent: parentOf(route.parent) })),
      },
    },
    snapshot: compiled.snapshot,
  };
}

type Told = SharedConfig["upstream"];

function secretOf(text: string | undefined): Secret | undefined {
  return text === undefined ? undefined : new Secret(text);
}

/** A class does not cross: secrets become text, wherever they stand. */
function told(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (Array.isArray(value)) return value.map(told);
  if (typeof value !== "object" || value === null || value instanceof Map || value instanceof Uint8Array)
    return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, told(inner)]));
}

/** Judged here, before any worker is told. */
function refuseUnusable({ tls }: Config, { origins, parents, tls: files }: Materials): void {
  for (const material of [origins, ...parents]) if (material !== undefined) trustIn(material);
  if (tls === undefined || files === undefined) return;
  const { names, clientCertificates } = tls;
  const leafFor = (): never => {
    throw new Error("nothing is shown yet");
  };
  const ticketKeys = Buffer.alloc(TICKET_KEYS_OCTETS);
  createProxyTls({ ...files, names, clientCertificates, leafFor, ticketKeys, now: Date.now });
}

function dnsShareOf(dns: Config["dns"], workers: number): Config["dns"] {
  const share = (whole: number): number => Math.max(1, Math.floor(whole / workers));
  return dns.map((one) => ({
    ...one,
    questionsPerSecond: share(one.questionsPerSecond),
    questionBurst: share(one.questionBurst),
  }));
}

/** Together never more than the whole, where the whole is one for each or more. Mintings are bounded by the primary. */
function shareOf(limits: Limits, workers: number): Limits {
  const share = (whole: number): number => Math.max(1, Math.floor(whole / workers));
  return {
    ...limits,
    connections: share(limits.connections),
    connectionsPerSource: share(limits.connectionsPerSource),
    upstreamTotal: share(limits.upstreamTotal),
    upstreamPerOrigin: share(limits.upstreamPerOrigin),
  };
}

const MOST = 64;
