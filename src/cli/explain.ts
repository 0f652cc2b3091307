// One request through every stage of the policy, as the proxy would take it, and what would turn a denial. It judges nothing
// itself: each stage is asked of the policy.

import type { Address } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import { isAddressLiteral, parseHostUnicode } from "../net/host.ts";
import type { Reason } from "../net/reasons.ts";
import { parseRequestTarget, type RequestPath } from "../net/request-target.ts";
import type { Snapshot } from "../policy/compile.ts";
import { type Explanation, explain } from "../policy/explain.ts";
import type { AddressFacts, Facts, Stage, Standing } from "../policy/types.ts";

export type Asked = {
  readonly method: string;
  readonly target: Authority;
  /** `undefined`: a CONNECT, whose requests are not known. */
  readonly request:
    | { readonly scheme: "http" | "https"; readonly path: RequestPath; readonly upgrade: boolean }
    | undefined;
};

export type Walk = {
  readonly verdict: "allow" | "deny" | "ask" | "report";
  /** Of the first stage that denies, or would. */
  readonly reason: Reason | undefined;
  readonly stages: readonly Judged[];
  readonly skipped: readonly { readonly stage: Stage; readonly because: string }[];
  /** Additions to the policy; all of them are needed. */
  readonly flips: readonly string[];
  /** Why no addition helps, where none does. */
  readonly impossible: string | undefined;
};

export type Judged = {
  readonly stage: Stage;
  readonly verdict: Walk["verdict"];
  readonly explanation: Explanation;
};

/** `GET https://example.com/path`, with `ws` and `wss` for WebSockets; `CONNECT host:port`. `undefined`: the proxy answers 400. */
export function readAsked(method: string, text: string): Asked | undefined {
  if (method === "CONNECT") {
    const connect = parseRequestTarget(method, canonicalAuthority(text));
    return connect?.form === "authority"
      ? { method, target: connect.authority, request: undefined }
      : undefined;
  }
  const [, scheme = "", socket = "", authority = "", rest = ""] =
    /^(?:(https?)|(wss?)):\/\/([^/?#]*)([^#]*)/.exec(text) ?? [];
  const http = socket === "" ? scheme : socket.replace("ws", "http");
  const target = parseRequestTarget(method, `${http}://${canonicalAuthority(authority)}${rest}`);
  if (target?.form !== "absolute") return undefined;
  const { path } = target;
  return {
    method,
    target: target.authority,
    request: { scheme: target.scheme, path, upgrade: socket !== "" },
  };
}

export function walk(
  snapshot: Snapshot,
  asked: Asked,
  known: {
    readonly policy: string;
    readonly at: number;
    readonly addresses: readonly Address[];
    readonly own: AddressFacts["own"];
    readonly standing: Standing | undefined;
  },
): Walk {
  const { policy, at, addresses, own, standing } = known;
  const common = { policy, at, target: asked.target, standing };
  const [connect, ...inside] = stagesOf(asked, common);
  const tcp = connect?.stage === "connect" && handling(judge(snapshot, connect).explanation) === "tcp";
  const facts = connect === undefined ? [] : tcp ? [connect] : [connect, ...inside];
  if (addresses.length > 0) facts.push({ ...common, stage: "address", addresses, own, tcp });
  const all = facts.map((one) => judge(snapshot, one));
  const end = all.findIndex(({ verdict }) => verdict === "deny" || verdict === "ask");
  const passed = end < 0 ? all : all.slice(0, end + 1);
  // What is passed unread has no requests to judge.
  const spliced =
    tcp ||
    passed.some(({ stage, explanation }) => stage === "client-hello" && handling(explanation) === "splice");
  const stages = spliced ? passed.filter(({ stage }) => stage !== "request") : passed;
  const against = stages.find(({ verdict }) => verdict !== "allow");
  return {
    verdict: verdictOf(stages.at(-1)) ?? against?.verdict ?? "allow",
    reason: against && reasonOf(against.explanation),
    stages,
    skipped: skippedStages(asked, { stages, spliced, addresses }),
    ...remedies(all, { spliced, literal: isAddressLiteral(asked.target.host) }),
  };
}

type Common = {
  readonly policy: string;
  readonly at: number;
  readonly target: Authority;
  readonly standing: Standing | undefined;
};

function stagesOf({ method, request, target }: Asked, common: Common): Facts[] {
  if (request === undefined) return [{ ...common, stage: "connect" }];
  const { scheme, path, upgrade } = request;
  const facts: Facts = {
    ...common,
    stage: "request",
    scheme,
    method,
    path,
    upgrade,
    body: METHODS_WITH_BODY.has(method),
    methodOverride: false,
  };
  if (scheme === "http") return [facts];
  // TLS names hosts only, never addresses (RFC 6066 §3).
  const sni = isAddressLiteral(target.host) ? undefined : target.host;
  return [{ ...common, stage: "connect" }, { ...common, stage: "client-hello", sni }, facts];
}

function judge(snapshot: Snapshot, facts: Facts): Judged {
  const explanation = explain(snapshot, facts);
  const { verdict } = explanation;
  if (verdict.action !== "allow") return { stage: facts.stage, verdict: verdict.action, explanation };
  const report = "wouldDeny" in verdict && verdict.wouldDeny !== undefined;
  return { stage: facts.stage, verdict: report ? "report" : "allow", explanation };
}

/** Where nothing goes on. */
function verdictOf(last: Judged | undefined): "deny" | "ask" | undefined {
  return last?.verdict === "deny" || last?.verdict === "ask" ? last.verdict : undefined;
}

/**
 * A rule for the request opens the tunnel to it as well, so the tunnel's own stages need none beside it; and one that
 * names an address opens that address.
 */
function remedies(
  all: readonly Judged[],
  { spliced, literal }: { spliced: boolean; literal: boolean },
): Pick<Walk, "flips" | "impossible"> {
  const denied = all.filter(({ verdict, stage }) => verdict !== "allow" && !(spliced && stage === "request"));
  const request = denied.find(({ stage }) => stage === "request");
  const needed =
    request === undefined
      ? denied
      : denied.filter((one) => one === request || (one.stage === "address" && !literal));
  const flips = new Set<string>();
  for (const { explanation } of needed) {
    if (explanation.flip === undefined) continue;
    if ("impossible" in explanation.flip) return { flips: [], impossible: explanation.flip.impossible };
    flips.add(explanation.flip.rule);
  }
  return { flips: [...flips], impossible: undefined };
}

function skippedStages(
  { request, target }: Asked,
  seen: {
    readonly stages: readonly Judged[];
    readonly spliced: boolean;
    readonly addresses: readonly Address[];
  },
): Walk["skipped"] {
  const { stages, spliced, addresses } = seen;
  const because: Partial<Record<Stage, string>> = {
    request: spliced ? "passed unread: requests inside are not judged" : "not reached",
    "client-hello": "not reached",
    address:
      addresses.length > 0 || verdictOf(stages.at(-1)) !== undefined
        ? "not reached"
        : `${target.host} is resolved when it is asked for; give --address to judge one`,
  };
  const order: readonly Stage[] =
    request?.scheme === "http" ? ["request", "address"] : ["connect", "client-hello", "request", "address"];
  const wanted =
    request === undefined ? order.filter((stage) => stage === "connect" || stage === "address") : order;
  return wanted
    .filter((stage) => !stages.some((one) => one.stage === stage))
    .map((stage) => ({ stage, because: because[stage] ?? "not reached" }));
}

export function reasonOf({ verdict }: Explanation): Reason | undefined {
  if (verdict.action !== "allow") return verdict.reason;
  return "wouldDeny" in verdict ? verdict.wouldDeny?.reason : undefined;
}

export function handling({ verdict }: Explanation): "intercept" | "splice" | "tcp" | undefined {
  return "handling" in verdict ? verdict.handling : undefined;
}

/** People write U-labels; the wire never carries them. */
function canonicalAuthority(text: string): string {
  const [, host = text, port = ""] = /^(\[[^\]]*\]|[^:]*)(:\d+)?$/.exec(text) ?? [];
  if (host.startsWith("[")) return text;
  return `${parseHostUnicode(host) ?? host}${port}`;
}

/** With these a client sends a body as a rule; the others have none. */
const METHODS_WITH_BODY: ReadonlySet<string> = new Set(["POST", "PUT", "PATCH"]);
