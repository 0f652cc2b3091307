// The parent proxies of a configuration as the way to origins takes them, and what tells one such set from another.

import { createHash } from "node:crypto";
import type { Config, ParentProxy } from "../config/types.ts";
import type { ParentRoutes } from "../upstream/parent-routes.ts";
import type { Parent } from "../upstream/parents.ts";
import { createTrust, type Trust } from "../upstream/trust.ts";

export type ConfiguredParents = {
  /** `undefined`: every origin is connected to straight. */
  readonly routes: ParentRoutes<Parent> | undefined;
  /** Changes with anything of them, credentials and trust anchors too; tells none of it. */
  readonly fingerprint: string;
};

/** `origins`: what origins are verified against, and parents that name no anchors of their own. */
export function parentsOf({ upstream }: Config, origins: Trust): ConfiguredParents {
  if (upstream.parent === undefined && upstream.routes.length === 0)
    return { routes: undefined, fingerprint: "" };
  const digest = createHash("sha256");
  const parentFrom = ({ trust: sources, ...rest }: ParentProxy): Parent => {
    const trust = sources === undefined ? origins : trustOf(sources, upstream.crls);
    const secrets = [rest.credentials?.reveal(), trust.generation];
    digest.update(JSON.stringify([rest, secrets]));
    return { ...rest, trust };
  };
  const routes = {
    parent: upstream.parent && parentFrom(upstream.parent),
    routes: upstream.routes.map((route) => ({ ...route, parent: route.parent && parentFrom(route.parent) })),
  };
  return { routes, fingerprint: digest.digest("base64url") };
}

/** Read anew each time: a revocation list is replaced under its name. */
export function trustOf(sources: Config["upstream"]["trust"], crlFiles: Config["upstream"]["crls"]): Trust {
  const trust = sources.map((source) => (source.kind === "file" ? source.path : source.kind));
  return createTrust({ trust, crlFiles });
}
