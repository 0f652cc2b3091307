// The parent proxies that a file names, as they are written, and what its author should know of them.

import type { Diagnostic } from "./diagnostic.ts";
import { isRecord, type Path, type Source } from "./source.ts";

type Mapping = { readonly path: Path; readonly parent: Readonly<Record<string, unknown>> };

/** Those that are written as mappings. */
export function parentsOf(value: unknown): Mapping[] {
  const { upstream } = isRecord(value) ? value : {};
  if (!isRecord(upstream)) return [];
  const { parent, routes } = upstream;
  const written: { path: Path; parent: unknown }[] = [{ path: ["upstream", "parent"], parent }];
  for (const [at, route] of (Array.isArray(routes) ? (routes as unknown[]) : []).entries())
    if (isRecord(route))
      written.push({ path: ["upstream", "routes", at, "parent"], parent: route["parent"] });
  return written.flatMap(({ path, parent }) => (isRecord(parent) ? [{ path, parent }] : []));
}

export function checkParents(source: Source): Diagnostic[] {
  return parentsOf(source.value)
    .filter(({ parent }) => parent["address"] === "name")
    .map(({ path }) => source.warning(source.at([...path, "address"], "value"), UNJUDGED));
}

const UNJUDGED =
  "the parent is told names and resolves them: nobody judges whether they lead to private addresses, and rules about networks do not hold";
