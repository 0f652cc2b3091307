// A judged configuration as it crosses from the primary to its workers, and back into what the parts take. What bounds the
// whole proxy is shared out, so that the workers together hold to it.

import { availableParallelism } from "node:os";
import type { Settings } from "../cluster/messages.ts";
import type { Current } from "../config/reloader.ts";
import type { Config } from "../config/types.ts";
import type { Limits } from "../net/limits.ts";
import { Secret } from "../net/secret.ts";
import { compile } from "../policy/compile.ts";
import { trustIn } from "../upstream/trust.ts";
import { trustOf } from "./publisher.ts";

export function workerCount({ workers }: Config): number {
  return workers === "auto" ? Math.min(availableParallelism(), MOST) : workers;
}

/** Reads the files that it names; throws where one cannot be used. */
export function settingsOf({ generation, config, policies }: Current, workers: number): Settings {
  const trust = trustOf(config);
  // Judged here, before any worker is told.
  trustIn(trust);
  return {
    generation,
    policies,
    trust,
    config: {
      ...config,
      limits: shareOf(config.limits, workers),
      sandboxes: config.sandboxes.map(({ secret, ...sandbox }) => ({ ...sandbox, secret: secret.reveal() })),
    },
  };
}

export function currentOf({
  generation,
  config,
  policies,
}: Settings): Pick<Current, "generation" | "config" | "snapshot"> {
  const compiled = compile({ generation, policies });
  if ("problems" in compiled) throw new Error("the primary's policies do not compile");
  const sandboxes = config.sandboxes.map((sandbox) => ({ ...sandbox, secret: new Secret(sandbox.secret) }));
  return { generation, config: { ...config, sandboxes }, snapshot: compiled.snapshot };
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
