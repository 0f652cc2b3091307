// What may be asked for at all: forms and bounds of what runtimes and operators say. Refuses with what was expected.

import { isMapped, parseNetwork } from "../net/address.ts";
import { compileGlob } from "../policy/paths.ts";
import { parsePattern } from "../policy/pattern.ts";
import { ControlError, type Labels, type NewGrant } from "./types.ts";

export const BOUNDS = {
  sandboxes: 100_000,
  tokens: 1_000,
  grants: 10_000,
  /** Compiled anew for each sandbox that has grants of its own whenever one of everybody's changes. */
  grantsOfAll: 1_000,
  grantsOfOne: 256,
  labels: 16,
  labelName: 64,
  labelValue: 256,
  sources: 16,
  reason: 500,
  ttlMs: 30 * 86_400_000,
} as const;

export function checkId(id: string): void {
  if (!ID.test(id))
    invalid(
      `an id has 1 to 64 letters, digits, dots, underscores and hyphens, and begins with a letter or digit`,
    );
}

export function checkReason(reason: string): void {
  if (reason.trim() === "" || reason.length > BOUNDS.reason) invalid("a reason has 1 to 500 characters");
}

export function checkTtl(what: string, ms: number | undefined): void {
  if (ms !== undefined && !(Number.isFinite(ms) && ms >= 1_000 && ms <= BOUNDS.ttlMs))
    invalid(`${what} is from 1 second to 30 days`);
}

export function checkLabels(labels: Labels): void {
  const entries = Object.entries(labels);
  if (entries.length > BOUNDS.labels) invalid(`a sandbox has at most ${BOUNDS.labels} labels`);
  for (const [name, value] of entries) {
    if (!ID.test(name)) invalid(`${JSON.stringify(name)} is no name of a label`);
    if (value.length > BOUNDS.labelValue)
      invalid(`label ${name}: its value has at most ${BOUNDS.labelValue} characters`);
  }
}

export function checkSources(sources: readonly string[]): void {
  if (sources.length > BOUNDS.sources) invalid(`a sandbox has at most ${BOUNDS.sources} sources`);
  for (const source of sources) {
    const network = parseNetwork(source);
    if (network === undefined) invalid(`${JSON.stringify(source)} is not an address or network`);
    if (isMapped(network)) invalid(`${source} is nobody's source: IPv4 is written as IPv4, without ::ffff:`);
    // Whoever registers half of the world takes the place of all who say nothing, and makes all others disagree with it.
    if (network.prefix < (network.bytes.length === 4 ? 16 : 48))
      invalid(`${source} is wider than a sandbox's network may be: /16, or /48 of IPv6`);
  }
}

export function checkGrant({ host, ports, methods, paths, reason, ttl }: NewGrant): void {
  checkReason(reason);
  checkTtl("a grant's time", ttl);
  const pattern = parsePattern(host);
  if (pattern.kind === "problem") invalid(`host: ${pattern.message}`);
  // Where names lead inside, the operator's file alone says so.
  if (pattern.kind === "network") invalid("host: a grant names a host, never an address or network");
  if (methods !== "all" && methods.some((method) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/.test(method)))
    invalid("methods: exact names such as GET");
  if (methods.length === 0) invalid("methods: at least one, or all");
  if (ports?.some((port) => !Number.isInteger(port) || port < 1 || port > 65_535) === true)
    invalid("ports: whole numbers from 1 to 65535");
  for (const path of paths ?? []) {
    const glob = compileGlob(path);
    if ("problem" in glob) invalid(`paths: ${glob.problem}`);
  }
}

export function invalid(message: string): never {
  throw new ControlError("invalid", message);
}

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
