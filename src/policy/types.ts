// What the policy takes and gives. Pure values: time arrives as a fact, addresses arrive resolved.

import type { Address, Network } from "../net/address.ts";
import type { Authority } from "../net/authority.ts";
import type { Host } from "../net/host.ts";
import type { RequestPath } from "../net/request-target.ts";
import type { Reason } from "../net/reasons.ts";
import type { Secret } from "../net/secret.ts";
import type { RulesOfHost } from "./compile.ts";
import type { HostIndex } from "./hosts.ts";
import type { Requirements } from "./requirements.ts";

export type Stage = "connect" | "client-hello" | "request" | "address";
export type Phase = "setup" | "agent";
export type Intent = "git-fetch" | "npm-audit";

/** `all`, or the methods that are allowed, exact and case-sensitive (RFC 9110 §9.1). Empty permits nothing. */
export type Methods = "all" | readonly string[];

/** One rule as the operator wrote it; `undefined` narrows nothing. */
export type Rule = {
  /** Host pattern, address literal or CIDR, as written. */
  readonly host: string;
  readonly methods?: Methods;
  readonly ports?: readonly number[];
  /** Globs over the canonical path. */
  readonly paths?: readonly string[];
  /** Networks that the address guard lets pass for this rule. */
  readonly networks?: readonly string[];
  /** Milliseconds since the epoch; the rule is void from then on. */
  readonly expires?: number;
  readonly reason?: string;
  /** Where it was written: `sallyport.yaml:14:7`, or `preset:npm`. */
  readonly source: string;
};

/** An allow rule that somebody gave for a while; it says all that it grants. */
export type Grant = Rule & { readonly id: string; readonly methods: Methods; readonly expires: number };
export type Grants = HostIndex<RulesOfHost>;

export type Preset = {
  readonly name: string;
  readonly patterns: readonly string[];
  /** Intents that a policy's own may name at these hosts: an intent is for those who serve it, not for whoever is allowed. */
  readonly intents?: readonly Intent[];
  /** Presets that bring it along, among those of its policy. */
  readonly by?: readonly string[];
};

export const BUDGETS = ["upload", "download", "requests", "connections", "hosts"] as const;
export type BudgetName = (typeof BUDGETS)[number];

/** A quota that runs down: octets, requests, hosts that are new, or connections while they are open. */
export type Budget = {
  readonly name: BudgetName;
  /** Pattern of the hosts that draw on it together, as written; `undefined`: all do. */
  readonly host: string | undefined;
  readonly limit: number;
  /** It begins anew at every multiple of this since the epoch, in milliseconds; 0: never. */
  readonly perMs: number;
  /** Where it was written. */
  readonly source: string;
};

/** A secret that the sandbox never holds. */
export type SecretUse = {
  readonly name: string;
  readonly value: Secret;
  /** These hosts and no others. */
  readonly hosts: readonly Host[];
  /** Where it goes: Authorization, a header field, or a parameter of the query. */
  readonly as: "bearer" | "basic" | { readonly header: string } | { readonly query: string };
  /** Where it was written: `sallyport.yaml:14:7`. */
  readonly source: string;
};

export type Policy = {
  readonly name: string;
  /** Flattened: each preset with the patterns it contributes itself. `all` is the pattern-less preset named `all`. */
  readonly presets: readonly Preset[];
  readonly methods: Methods;
  readonly intents: readonly Intent[];
  readonly mode: "enforce" | "report-only";
  /** What becomes of a request that no rule allows and that somebody could approve; `never`: it is denied. */
  readonly ask: "never" | "wait" | "refuse";
  readonly allow: readonly Rule[];
  readonly deny: readonly Rule[];
  readonly splice: readonly Rule[];
  /** Hosts and ports to which any bytes may pass, unread. */
  readonly tcp: readonly Rule[];
  /** Absent: nothing is counted. */
  readonly budgets?: readonly Budget[];
  /** What the proxy puts into requests that are allowed; `undefined`: nothing. */
  readonly secrets?: readonly SecretUse[];
  /** Query strings stand in the audit record. */
  readonly keepQueries: boolean;
  /** The rule's own reason is shown to the sandbox. */
  readonly showRule: boolean;
};

/** Everything `compile` needs; compiled policies are immutable. */
export type PolicySet = {
  readonly generation: number;
  readonly policies: readonly Policy[];
  /** What none of them exceeds; all of these hold. */
  readonly requirements?: readonly Requirements[];
};

/** A rule's name in verdicts, records and explanations. */
export type RuleRef = {
  /**
   * Stable within a generation: `allow[2]`, `deny[0]`, `preset:npm`, `intent:git-fetch`, `grant:<id>`, `requirement:deny`,
   * `lockdown`, `ask`, `budget:<name>`, `default`.
   */
  readonly id: string;
  readonly source: string;
  readonly reason?: string;
};

/** What holds for one sandbox beside its policy. */
export type Standing = {
  /** By an operator's order nothing may leave; its id is `lockdown`. */
  readonly lockdown: RuleRef | undefined;
  /** What was granted to it for a while: compiled by `compileGrants`. */
  readonly grants: Grants | undefined;
};

type Common = {
  /** Name of the policy that applies (the identity's, for its phase). */
  readonly policy: string;
  /** `undefined`: nothing but the policy holds. */
  readonly standing?: Standing | undefined;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly target: Authority;
};

export type ConnectFacts = Common & { readonly stage: "connect" };

export type ClientHelloFacts = Common & {
  readonly stage: "client-hello";
  /** Server name that the ClientHello carries; `undefined` where it carries none. */
  readonly sni: Host | undefined;
};

export type RequestFacts = Common & {
  readonly stage: "request";
  readonly scheme: "http" | "https";
  readonly method: string;
  readonly path: RequestPath;
  /** The request names an upgrade (`Connection: upgrade`). */
  readonly upgrade: boolean;
  /** The request has a body or announces one (non-zero length, chunked, trailers). */
  readonly body: boolean;
  /** A method-override header field is present. */
  readonly methodOverride: boolean;
};

export type AddressFacts = Common & {
  readonly stage: "address";
  /** Every address the name resolved to. */
  readonly addresses: readonly Address[];
  /** Where this proxy itself listens; a wildcard bind is expanded to the machine's addresses. */
  readonly own: readonly { readonly address: Address; readonly port: number }[];
  /** For a raw TCP tunnel: the networks that count are those of `tcp` rules, else those of `allow` rules. */
  readonly tcp?: boolean;
};

export type Facts = ConnectFacts | ClientHelloFacts | RequestFacts | AddressFacts;

export type Denial = { readonly reason: Reason; readonly rule: RuleRef | undefined };

export type Allow = {
  readonly action: "allow";
  readonly rule: RuleRef;
  /** Preset that allowed it, for the metric's label. */
  readonly preset: string | undefined;
  /** `client-hello` and `connect`: what is to become of TLS inside the tunnel. `tcp`, at `connect`: of whatever is in it. */
  readonly handling: "intercept" | "splice" | "tcp";
  /** `report-only`: what would have been denied. */
  readonly wouldDeny: Denial | undefined;
};
export type Deny = { readonly action: "deny" } & Denial & {
    /** The rule's own reason may be shown to the sandbox. */
    readonly shown: string | undefined;
  };
/** A miss that somebody may yet approve; whoever cannot wait refuses it for this reason. */
export type Ask = { readonly action: "ask" } & Denial & {
    readonly shown: string | undefined;
    /** It may be held until somebody has decided; else it is refused at once, with a reference. */
    readonly wait: boolean;
  };
export type Verdict = Allow | Deny | Ask;

export type { Address, Host, Network };
