// `${NAME}` in secrets and in the URLs of parent proxies and of the store, from the environment: `$${` stands for `${`. What is not defined is an
// error where it is written, never an empty secret.

import { didYouMean, type Diagnostic } from "./diagnostic.ts";
import { isRecord, type Path, type Source } from "./source.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The source's value with its secrets expanded; a secret that cannot be is replaced by one that passes for one. */
export function expandSecrets(
  source: Source,
  env: Environment,
): { value: unknown; diagnostics: Diagnostic[]; variables: string[] } {
  const diagnostics: Diagnostic[] = [];
  const variables = new Set<string>();
  let { value } = source;
  for (const place of placesOf(value)) {
    for (const [, name] of place.text.matchAll(VARIABLE)) if (name !== undefined) variables.add(name);
    const expanded = expand(place, { source, env });
    if (typeof expanded !== "string") diagnostics.push(...expanded);
    value = replaced(value, place.path, typeof expanded === "string" ? expanded : place.instead);
  }
  return { value, diagnostics, variables: [...variables] };
}

/** A text that may hold a secret. */
type Place = {
  readonly path: Path;
  readonly text: string;
  readonly url: boolean;
  /** What passes for it. */
  readonly instead: string;
};

function placesOf(value: unknown): Place[] {
  if (!isRecord(value)) return [];
  const { approvals, policies, sandboxes, upstream, store } = value;
  const places = list(sandboxes).flatMap((sandbox, at) =>
    placeAt(isRecord(sandbox) ? sandbox["secret"] : undefined, {
      path: ["sandboxes", at, "secret"],
      url: false,
      instead: "x".repeat(32),
    }),
  );
  for (const [name, policy] of Object.entries(isRecord(policies) ? policies : {}))
    for (const [at, secret] of list(isRecord(policy) ? policy["secrets"] : undefined).entries())
      places.push(
        ...placeAt(isRecord(secret) ? secret["value"] : undefined, {
          path: ["policies", name, "secrets", at, "value"],
          url: false,
          instead: "x".repeat(32),
        }),
      );
  if (typeof store === "string" && /^(?:postgres|\$\{)/.test(store)) {
    const instead = "postgres://placeholder@placeholder.invalid/placeholder";
    places.push({ path: ["store"], text: store, url: true, instead });
  }
  const webhook = isRecord(approvals) ? approvals["webhook"] : undefined;
  if (isRecord(webhook))
    places.push(
      ...placeAt(webhook["secret"], {
        path: ["approvals", "webhook", "secret"],
        url: false,
        instead: "x".repeat(32),
      }),
    );
  if (!isRecord(upstream)) return places;
  const parents: [unknown, Path][] = [
    [upstream["parent"], ["upstream", "parent"]],
    ...list(upstream["routes"]).map((route, at): [unknown, Path] => [
      isRecord(route) ? route["parent"] : undefined,
      ["upstream", "routes", at, "parent"],
    ]),
  ];
  return [
    ...places,
    ...parents.flatMap(([parent, path]) => {
      const about = { url: true, instead: "http://placeholder.invalid:1" };
      return isRecord(parent)
        ? placeAt(parent["url"], { path: [...path, "url"], ...about })
        : placeAt(parent, { path, ...about });
    }),
  ];
}

function placeAt(text: unknown, about: Omit<Place, "text">): Place[] {
  return typeof text === "string" ? [{ ...about, text }] : [];
}

function replaced(value: unknown, [first, ...rest]: Path, text: string): unknown {
  if (first === undefined) return text;
  if (Array.isArray(value))
    return value.map((one: unknown, at) => (at === first ? replaced(one, rest, text) : one));
  return isRecord(value) ? { ...value, [first]: replaced(value[first], rest, text) } : value;
}

function expand(
  { path, text, url }: Place,
  { source, env }: { source: Source; env: Environment },
): string | Diagnostic[] {
  const errors: Diagnostic[] = [];
  const expanded = text.replace(VARIABLE, (written: string, name: string | undefined, offset: number) => {
    if (written === "$${") return "${";
    const found = name === undefined ? undefined : env[name];
    // In front of the host of a URL it stands for itself, whatever characters it has.
    if (found !== undefined) return url && text.includes("@", offset) ? encodeURIComponent(found) : found;
    const message =
      name === undefined
        ? "expected ${NAME}; write $${ for a literal ${"
        : `environment variable ${JSON.stringify(name)} is not set${didYouMean(name, Object.keys(env))}`;
    errors.push(source.error(source.within(path, written), message));
    return "";
  });
  return errors.length === 0 ? expanded : errors;
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

const VARIABLE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{/g;
