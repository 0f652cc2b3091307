// Which of a policy's secrets go into requests to a host. What they are is nobody's business here.

import type { Host } from "../net/host.ts";
import type { CompiledPolicy, Problem, RulesOfHost, Snapshot } from "./compile.ts";
import type { DecideFacts } from "./grant.ts";
import type { HostIndex } from "./hosts.ts";
import type { Denial, Policy, SecretUse } from "./types.ts";
import type { Trace } from "./verdict.ts";

export type CompiledSecrets = ReadonlyMap<Host, readonly SecretUse[]>;

/** `undefined`: there are none, so that whoever asks looks no further. */
export function compileSecrets(
  { secrets = [] }: Pick<Policy, "secrets">,
  rules: HostIndex<RulesOfHost>,
  problems: Problem[],
): CompiledSecrets | undefined {
  const byHost = new Map<Host, SecretUse[]>();
  for (const secret of secrets)
    for (const host of secret.hosts) {
      byHost.set(host, [...(byHost.get(host) ?? []), secret]);
      // Into what is passed unread nothing can be put; nor is it known there who answers.
      if (rules.find(host).some(({ splice, tcp }) => splice.length + tcp.length > 0))
        problems.push({
          source: secret.source,
          message: `\`${host}\` is passed unread by a splice or tcp rule, so no secret can be put in`,
        });
    }
  return byHost.size === 0 ? undefined : byHost;
}

export function secretsFor(
  { policies }: Snapshot,
  policy: string,
  host: Host,
): readonly SecretUse[] | undefined {
  return policies.get(policy)?.secrets?.get(host);
}

/** Why a request that is otherwise allowed must not carry what is put into it; nothing lifts that. */
export function unfitForSecret(
  { secrets }: Pick<CompiledPolicy, "secrets">,
  facts: DecideFacts,
  trace: Trace | undefined,
): Denial | undefined {
  if (facts.stage !== "request" || secrets === undefined) return undefined;
  for (const { name, source } of secrets.get(facts.target.host) ?? []) {
    const rule = { id: `secret:${name}`, source };
    // TRACE is answered with the request itself, in a body that nobody masks (RFC 9110 §9.3.8).
    const reason =
      facts.scheme === "http"
        ? "secret-needs-tls"
        : facts.method === "TRACE"
          ? "method-not-allowed"
          : undefined;
    const because = reason ?? "is put in";
    trace?.({ name: "secret", outcome: reason === undefined ? "continue" : "deny", rule, because });
    if (reason !== undefined) return { reason, rule };
  }
  return undefined;
}
