// The smallest addition to a policy that would turn a denial. A candidate is offered only after the policy with it
// was compiled and asked, so what is offered works.

import type { Address } from "../net/address.ts";
import { admit } from "./admit.ts";
import { compile, type Snapshot } from "./compile.ts";
import { decide } from "./decide.ts";
import { excessOf } from "./exceed.ts";
import type { DecideFacts } from "./grant.ts";
import { covering } from "./intents.ts";
import { readings } from "./paths.ts";
import type { Requirements } from "./requirements.ts";
import type { AddressFacts, Denial, Facts, Intent, Methods, Policy, RequestFacts } from "./types.ts";

/** `rule`: YAML to paste into the policy. `impossible`: why no rule helps. */
export type Flip = { readonly rule: string } | { readonly impossible: string };

type Under = { readonly policy: Policy; readonly requirements: readonly Requirements[] };

type Candidate = {
  readonly host: string;
  readonly ports?: readonly number[];
  readonly methods?: Methods;
  readonly paths?: readonly string[];
  readonly networks?: readonly string[];
};

export function flipOf({ policies, ceilings }: Snapshot, facts: Facts, { reason, rule }: Denial): Flip {
  const policy = policies.get(facts.policy)?.policy;
  if (reason === "lockdown") return { impossible: "a lockdown holds until whoever ordered it lifts it" };
  if (reason === "requirement")
    return { impossible: `no policy can exceed what ${String(rule?.source)} requires` };
  if (policy === undefined) return { impossible: `there is no policy named \`${facts.policy}\`` };
  if (reason === "sni-mismatch") return { impossible: "the TLS server name must be the host of the tunnel" };
  if (reason === "address-own") return { impossible: "the proxy never connects to itself" };
  if (rule?.id.startsWith("secret:"))
    return {
      impossible: `what carries ${rule.id} (${rule.source}) goes over https, by any method but TRACE`,
    };
  if (rule?.id.startsWith("deny[")) {
    return { impossible: `no rule outranks a deny rule: change or remove ${rule.id} (${rule.source})` };
  }
  const under: Under = { policy, requirements: ceilings.map(({ requirements }) => requirements) };
  if (facts.stage === "address") return firstOf(under, facts, addressCandidates(facts));
  const limited = reason === "method-not-allowed" && isLimitOf(policy, rule?.id);
  const intent = limited ? intentOf(facts) : undefined;
  const intents = intent === undefined ? policy.intents : [...policy.intents, intent];
  // A preset's hosts do not serve every intent.
  if (intent !== undefined && allows({ ...under, policy: { ...policy, intents } }, facts))
    return { rule: `intents: [${intents.join(", ")}]` };
  return firstOf(under, facts, [...candidates(facts, reason)]);
}

/** Narrowest first. */
function* candidates(facts: DecideFacts, reason: Denial["reason"]): Generator<Candidate> {
  const { host, port } = facts.target;
  const base: Candidate = reason === "port-not-allowed" ? { host, ports: [port] } : { host };
  if (facts.stage !== "request") {
    yield base;
    // The policy's own methods permit nothing.
    return yield { ...base, methods: ["GET"] };
  }
  const narrow = { ...base, paths: globsFor(facts) };
  for (const place of reason === "path-not-allowed" ? [narrow, base] : [base]) {
    yield place;
    yield { ...place, methods: [facts.method] };
  }
  yield { ...narrow, methods: "all" };
  yield { ...base, methods: "all" };
}

/** A push is two requests to one repository; anything else is its own path. */
function globsFor({ path }: RequestFacts): readonly string[] {
  const repository = /^(.+)\/(?:info\/refs|git-receive-pack)$/.exec(path.canonical)?.[1];
  return repository !== undefined && path.plain ? [`${repository}/**`] : readings(path);
}

function addressCandidates({ target, addresses, tcp }: AddressFacts): Candidate[] {
  const place = tcp === true ? { host: target.host, ports: [target.port] } : { host: target.host };
  const block = (address: Address): string => `${address}/${address.includes(":") ? 128 : 32}`;
  return addresses.map((address) => ({ ...place, networks: [block(address)] }));
}

/** Alone in the policy: rules that grant don't stand in one another's way, and those that deny were ruled out. */
function firstOf({ policy, requirements }: Under, facts: Facts, all: readonly Candidate[]): Flip {
  const key = facts.stage === "address" && facts.tcp === true ? "tcp" : "allow";
  const works = all.find((candidate) => {
    const candidates = [{ ...candidate, source: "candidate" }];
    const rules = key === "tcp" ? { allow: [], tcp: candidates } : { allow: candidates, tcp: [] };
    const alone = { ...policy, presets: [], splice: [], deny: [], ...rules };
    return allows({ policy: alone, requirements }, facts);
  });
  return works === undefined
    ? { impossible: `no ${key} rule can permit this` }
    : { rule: `${key}: [${toYaml(works)}]` };
}

/** Neither by exceeding the requirements, nor by merely reporting or asking. */
function allows({ policy, requirements }: Under, facts: Facts): boolean {
  if (excessOf(policy, requirements).length > 0) return false;
  const policies = [{ ...policy, mode: "enforce", ask: "never" } as const];
  const compiled = compile({ generation: 0, policies, requirements });
  if ("problems" in compiled) return false;
  const { snapshot } = compiled;
  const verdict = facts.stage === "address" ? admit(snapshot, facts) : decide(snapshot, facts);
  return verdict.action === "allow";
}

function intentOf(facts: DecideFacts): Intent | undefined {
  if (facts.stage !== "request" || facts.upgrade || facts.methodOverride) return undefined;
  return covering(INTENTS, facts);
}

/** The method limit that refused is the policy's own, so that an intent would be an exception to it. */
function isLimitOf(policy: Policy, id: string | undefined): boolean {
  if (policy.methods.length === 0 || id === undefined) return false;
  const index = /^allow\[(\d+)\]$/.exec(id)?.[1];
  return index === undefined ? id.startsWith("preset:") : policy.allow[Number(index)]!.methods === undefined;
}

function toYaml(candidate: Candidate): string {
  const pairs = KEYS.flatMap((key) => {
    const value = candidate[key];
    if (value === undefined) return [];
    const text = typeof value === "string" ? scalar(value) : `[${value.map(scalar).join(", ")}]`;
    return [`${key}: ${text}`];
  });
  return `{ ${pairs.join(", ")} }`;
}

function scalar(value: string | number): string {
  return typeof value === "number" || PLAIN.test(value) ? String(value) : JSON.stringify(value);
}

/** Plain in a YAML flow collection, and a string: not `true`, `null` or a number. */
const PLAIN =
  /^(?!(?:true|false|null|yes|no|on|off|y|n)$)(?:[a-z/][\w./@*-]*|\d+\.\d+\.\d+\.\d+(?:\/\d+)?)$/i;
const KEYS = ["host", "ports", "methods", "paths", "networks"] as const;
const INTENTS = ["git-fetch", "npm-audit"] as const;
