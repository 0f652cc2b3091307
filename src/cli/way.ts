// The way on which a request would leave, where the file names parent proxies; never their credentials.

import type { Config } from "../config/types.ts";
import { type Authority, formatAuthority } from "../net/authority.ts";
import { createRouter } from "../upstream/parent-routes.ts";

export type Way = {
  /** `host:port`; `null`: straight. */
  readonly parent: string | null;
  /** What the parent is told to connect to. */
  readonly told: "address" | "name" | null;
};

/** `undefined`: the file names no parent. */
export function wayOf({ upstream }: Config, target: Authority): Way | undefined {
  if (upstream.parent === undefined && upstream.routes.length === 0) return undefined;
  const parent = createRouter(upstream)(target);
  if (parent === undefined) return { parent: null, told: null };
  return { parent: formatAuthority(parent), told: parent.address === "name" ? "name" : "address" };
}

export function describeWay({ parent, told }: Way): string {
  if (parent === null) return "straight, through no parent proxy";
  return `through the parent proxy ${parent}, which is told ${told === "name" ? "the name: where that leads is not judged" : "the judged address"}`;
}
