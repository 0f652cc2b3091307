// The parent proxies of a configuration as the way to origins takes them, and what tells one such set from another.

import { createHash } from "node:crypto";
import type { Config, ParentProxy } from "../config/types.ts";
import type { ParentRoutes } from "../upstream/parent-routes.ts";
import type { Parent } from "../upstream/parents.ts";
import { type Trust, trustIn } from "../upstream/trust.ts";
import type { Materials } from "./materials.ts";

export type ConfiguredParents = {
  /** `undefined`: every origin is connected to straight. */
  readonly routes: ParentRoutes<Parent> | undefined;
  /** Changes with anything of them, credentials and trust anchors too; tells none of it. */
  readonly fingerprint: string;
};

/** `origins`: what origins are verified against, and parents that name no anchors of their own. */
export function parentsOf({ upstream }: Config, origins: Trust, materials: Materials): ConfiguredParents {
  if (upstream.parent === undefined && upstream.routes.length === 0)
    return { routes: undefined, fingerprint: "" };
  const digest = createHash("sha256");
  const [first, ...others] = materials.parents;
  const parentFrom = (parent: ParentProxy, material: Materials["parents"][number]): Parent => {
    const trust = material === undefined ? origins : trustIn(material);
    const secrets = [parent.credentials?.reveal(), trust.generation];
    digest.update(JSON.stringify([parent, secrets]));
    return { ...parent, trust };
  };
  const routes = {
    parent: upstream.parent && parentFrom(upstream.parent, first),
    routes: upstream.routes.map((route, index) => ({
      ...route,
      parent: route.parent && parentFrom(route.parent, others[index]),
    })),
  };
  return { routes, fingerprint: digest.digest("base64url") };
}
