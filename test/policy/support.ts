// Policies and facts for tests: everything has a plain default, so that a table names only what it is about.

import { readFileSync } from "node:fs";
import { parse } from "yaml";

import { parseAddress, type Address } from "../../src/net/address.ts";
import { parseAuthority } from "../../src/net/authority.ts";
import { parseHost } from "../../src/net/host.ts";
import { parsePath } from "../../src/net/request-target.ts";
import { compile, type Snapshot } from "../../src/policy/compile.ts";
import type { Limit, Requirements } from "../../src/policy/requirements.ts";
import type {
  Intent,
  AddressFacts,
  ClientHelloFacts,
  ConnectFacts,
  Policy,
  Preset,
  RequestFacts,
  Rule,
} from "../../src/policy/types.ts";

export const NOW = Date.UTC(2026, 10, 22);
export const READ_ONLY = ["GET", "HEAD", "OPTIONS"];

/** A rule without `source` gets its place in the list. */
export type RuleText = Omit<Rule, "source"> & { readonly source?: string };
export type PolicyText = Omit<Partial<Policy>, "allow" | "deny" | "splice" | "tcp"> & {
  readonly allow?: readonly RuleText[];
  readonly deny?: readonly RuleText[];
  readonly splice?: readonly RuleText[];
  readonly tcp?: readonly RuleText[];
};

export function policyOf(text: PolicyText = {}): Policy {
  const rules = (key: "allow" | "deny" | "splice" | "tcp"): Rule[] =>
    (text[key] ?? []).map((rule, at) => ({ source: `${key}:${at}`, ...rule }));
  return {
    name: "default",
    presets: [],
    methods: READ_ONLY,
    intents: [],
    mode: "enforce",
    ask: "never",
    keepQueries: false,
    showRule: false,
    ...text,
    allow: rules("allow"),
    deny: rules("deny"),
    splice: rules("splice"),
    tcp: rules("tcp"),
  };
}

export function snapshotOf(...policies: readonly PolicyText[]): Snapshot {
  const compiled = compile({ generation: 1, policies: policies.map(policyOf) });
  if ("problems" in compiled) throw new Error(JSON.stringify(compiled.problems));
  return compiled.snapshot;
}

export function requirementsOf(text: Partial<Requirements> = {}): Requirements {
  return {
    source: "required.yaml",
    presets: undefined,
    methods: undefined,
    intents: [],
    hosts: undefined,
    deny: [],
    splice: undefined,
    tcp: undefined,
    mode: undefined,
    budgets: [],
    durability: undefined,
    grants: { role: undefined, longestMs: undefined, always: undefined },
    ...text,
  };
}

/** A limit at a line of the requirements. */
export function limit<T>(value: T, line = 1): Limit<T> {
  return { value, source: `required.yaml:${line}:1` };
}

/** Policies that slipped through, under requirements that they exceed. */
export function snapshotUnder(
  requirements: readonly Requirements[],
  ...policies: readonly PolicyText[]
): Snapshot {
  const compiled = compile({ generation: 1, policies: policies.map(policyOf), requirements });
  if ("problems" in compiled) throw new Error(JSON.stringify(compiled.problems));
  return compiled.snapshot;
}

export function problemsOf(...policies: readonly PolicyText[]): string[] {
  const compiled = compile({ generation: 1, policies: policies.map(policyOf) });
  return "problems" in compiled
    ? compiled.problems.map(({ source, message }) => `${source}: ${message}`)
    : [];
}

type Shipped = { hosts: string[]; include: string[]; intents: Intent[] };

/** A shipped preset, flattened as configuration flattens it. */
export function shipped(name: string): Preset[] {
  const file = readFileSync(new URL(`../../presets/${name}.yaml`, import.meta.url), "utf8");
  const { hosts = [], include = [], intents = [] } = parse(file) as Partial<Shipped>;
  const own = hosts.length > 0 || name === "all" ? [{ name, patterns: hosts, intents }] : [];
  return [...own, ...include.flatMap(shipped)];
}

const COMMON = { policy: "default", at: NOW } as const;

export function connect(authority: string, more: Partial<ConnectFacts> = {}): ConnectFacts {
  return { ...COMMON, stage: "connect", target: parseAuthority(authority, 443)!, ...more };
}

export function hello(authority: string, sni: string | undefined): ClientHelloFacts {
  const name = sni === undefined ? undefined : parseHost(sni)!;
  return { ...COMMON, stage: "client-hello", target: parseAuthority(authority, 443)!, sni: name };
}

/** `request("POST https://example.com:8443/path?query", { body: true })` */
export function request(text: string, more: Partial<RequestFacts> = {}): RequestFacts {
  const [, method, scheme, authority, path] = /^(\S+) (https?):\/\/([^/?]+)(\S*)$/.exec(text)!;
  return {
    ...COMMON,
    stage: "request",
    target: parseAuthority(authority!, scheme === "http" ? 80 : 443)!,
    scheme: scheme as "http" | "https",
    method: method!,
    path: parsePath(path === "" ? "/" : path!)!,
    upgrade: false,
    body: false,
    methodOverride: false,
    ...more,
  };
}

export function resolved(
  authority: string,
  addresses: readonly string[],
  more: Partial<AddressFacts> = {},
): AddressFacts {
  return {
    ...COMMON,
    stage: "address",
    target: parseAuthority(authority, 443)!,
    addresses: addresses.map(address),
    own: [],
    ...more,
  };
}

export function address(text: string): Address {
  return parseAddress(text)!;
}
