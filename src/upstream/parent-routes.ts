// Which way a target is reached: straight, or through which parent proxy. The first route that names its host and port
// decides, in the order of writing.

import type { Authority } from "../net/authority.ts";
import { HostIndex } from "../policy/hosts.ts";
import { parsePattern } from "../policy/pattern.ts";

export type ParentRoute<Parent> = {
  /** As in a rule; a network is for targets that are written as addresses. */
  readonly host: string;
  /** `undefined`: every port. */
  readonly ports: readonly number[] | undefined;
  /** `undefined`: straight. */
  readonly parent: Parent | undefined;
};

export type ParentRoutes<Parent> = {
  /** For what no route names; `undefined`: straight. */
  readonly parent: Parent | undefined;
  readonly routes: readonly ParentRoute<Parent>[];
};

/** `undefined`: straight. */
export function createRouter<Parent>({ parent, routes }: ParentRoutes<Parent>) {
  const index = new HostIndex<number[]>(() => []);
  for (const [at, { host }] of routes.entries()) {
    const pattern = parsePattern(host);
    if (pattern.kind === "problem") throw new Error(`upstream.routes: ${pattern.message}`);
    for (const bucket of index.at(pattern)) bucket.push(at);
  }
  return ({ host, port }: Authority): Parent | undefined => {
    const found = index
      .find(host)
      .flat()
      .toSorted((a, b) => a - b)
      .find((at) => routes[at]?.ports?.includes(port) ?? true);
    return found === undefined ? parent : routes[found]?.parent;
  };
}
