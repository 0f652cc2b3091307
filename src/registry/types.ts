// What operators, runtimes and administrators say of sandboxes while the proxy runs, and how it is answered. The data path is
// handed what becomes of it (identity's `Sandbox`), never these.

import type { Refusal } from "../audit/refusals.ts";
import type { Reason } from "../net/reasons.ts";
import type { Methods, Phase } from "../policy/types.ts";

/** `runtime`: registers sandboxes and ends those that it registered. Each of the others may do what those before it may. */
export type Role = "viewer" | "approver" | "operator" | "admin";
export type TokenRole = Role | "runtime";

/** Who does something, as the audit chain tells it. */
export type Actor = {
  /** `token:<name>`, `cli:<user>`, `sallyport` for what time brings about, `webhook:<name>`. */
  readonly name: string;
  readonly role: TokenRole | "system";
  /** The peer's address and port, or `local`. */
  readonly from: string;
};

export type Labels = Readonly<Record<string, string>>;

export type SandboxState = "active" | "ended";

/** As the API shows it: no secret, no hash. Times are milliseconds since the epoch. */
export type SandboxView = {
  readonly id: string;
  /** `file`: the operator's file declares it; only its phase can be changed. */
  readonly origin: "file" | "api";
  readonly state: SandboxState;
  readonly policies: { readonly [phase in Phase]: string };
  readonly phase: Phase;
  /** When it moves to `agent` by itself. */
  readonly agentAt: number | undefined;
  readonly expires: number | undefined;
  readonly labels: Labels;
  readonly lockdown: string | undefined;
  readonly createdAt: number | undefined;
  readonly createdBy: string | undefined;
  readonly endedAt: number | undefined;
  readonly endedBecause: string | undefined;
  readonly version: number;
};

export type Registration = {
  /** Absent: one is made. */
  readonly id?: string | undefined;
  readonly policies: { readonly [phase in Phase]: string };
  readonly phase: Phase;
  /** Milliseconds from now. */
  readonly ttl?: number | undefined;
  /** Milliseconds from now until it moves to `agent` by itself. */
  readonly setupFor?: number | undefined;
  readonly labels: Labels;
  /** Networks from which it needs no credentials. */
  readonly sources?: readonly string[] | undefined;
};

export type Registered = {
  readonly sandbox: SandboxView;
  /** Told once, and kept nowhere. */
  readonly secret: string;
};

export type TokenView = {
  readonly id: string;
  readonly name: string;
  readonly role: TokenRole;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly expires: number | undefined;
  readonly version: number;
};

export type GrantView = {
  readonly id: string;
  /** `undefined`: every sandbox of the policy that it was asked under, or all. */
  readonly sandbox: string | undefined;
  readonly host: string;
  readonly ports: readonly number[] | undefined;
  readonly methods: Methods;
  readonly paths: readonly string[] | undefined;
  readonly reason: string;
  readonly owner: string;
  readonly createdAt: number;
  readonly expires: number;
  /** When it last let something pass; `undefined`: never. */
  readonly usedAt: number | undefined;
  readonly version: number;
};

export type LockdownView = {
  /** A sandbox's id, or `*` for all. */
  readonly sandbox: string;
  readonly reason: string;
  readonly orderedBy: string;
  readonly orderedAt: number;
};

/** A request that no rule allows and that somebody may let pass all the same. */
export type ApprovalView = {
  /** What the sandbox was told to refer to. */
  readonly id: string;
  readonly state: "pending" | "allowed" | "denied" | "expired";
  readonly sandbox: string | undefined;
  /** The address it came from, where nobody says who they are. */
  readonly source: string | undefined;
  readonly labels: Labels;
  readonly policy: string;
  readonly method: string;
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  /** As it would be sent, whole, without its query: printable ASCII, at most 1,024 octets. */
  readonly path: string;
  /** There is a query, which is not shown; requests that differ in it are asked about apart. */
  readonly query: boolean;
  /** Why the policy does not allow it. */
  readonly reason: Reason;
  /** How many requests of this kind came while it was pending. */
  readonly requests: number;
  readonly askedAt: number;
  readonly expires: number;
  readonly decidedBy: string | undefined;
  readonly decidedAt: number | undefined;
  /** How far it was allowed. */
  readonly scope: "once" | "sandbox" | "time" | "always" | undefined;
  readonly note: string | undefined;
  readonly version: number;
};

/** `once`: the requests that wait for it; `sandbox`: as long as the sandbox lives; `always`: a rule of the policy's file. */
export type Decision =
  | { readonly action: "deny"; readonly reason: string }
  | { readonly action: "allow"; readonly scope: "once" | "sandbox" | "always"; readonly reason: string }
  /** Milliseconds from now. */
  | { readonly action: "allow"; readonly scope: "time"; readonly ms: number; readonly reason: string };

export type BudgetView = {
  /** `upload`, `download`, `requests`, … as the policy names it. */
  readonly name: string;
  /** `undefined`: over all hosts. */
  readonly host: string | undefined;
  readonly limit: number;
  readonly spent: number;
  /** When it begins anew; `undefined`: never. */
  readonly renews: number | undefined;
};

export type NewToken = {
  readonly name: string;
  readonly role: TokenRole;
  /** Milliseconds from now. */
  readonly ttl?: number | undefined;
};

export type NewGrant = {
  readonly sandbox?: string | undefined;
  readonly host: string;
  readonly ports?: readonly number[] | undefined;
  readonly methods: Methods;
  readonly paths?: readonly string[] | undefined;
  readonly reason: string;
  /** Milliseconds from now. */
  readonly ttl: number;
};

export type SandboxChanges = {
  readonly policies?: { readonly [phase in Phase]: string } | undefined;
  readonly labels?: Labels | undefined;
  /** Milliseconds from now. */
  readonly ttl?: number | undefined;
  /** That the asker has seen; absent: whatever it is. */
  readonly version?: number | undefined;
};

/**
 * Everything that can be done to sandboxes while the proxy runs: what the API, the command line and time itself call. Each
 * action checks its input and the requirements, is stored, stands in the audit chain with its actor, and holds in every process
 * before its promise resolves here. Whether the actor may do it is for the caller to judge; only `runtime` is told apart here,
 * since it may touch none but its own sandboxes. Rejects with `ControlError`.
 */
export type Control = {
  readonly sandboxes: () => readonly SandboxView[];
  readonly sandbox: (id: string) => SandboxView | undefined;
  readonly register: (actor: Actor, registration: Registration) => Promise<Registered>;
  readonly update: (actor: Actor, id: string, changes: SandboxChanges) => Promise<SandboxView>;
  /** To `agent` by anybody who may touch it; back to `setup` is a reset, for operators. */
  readonly move: (actor: Actor, id: string, phase: Phase) => Promise<SandboxView>;
  readonly end: (actor: Actor, id: string, because: string) => Promise<SandboxView>;

  readonly tokens: () => readonly TokenView[];
  readonly createToken: (
    actor: Actor,
    token: NewToken,
  ) => Promise<{ readonly token: TokenView; readonly secret: string }>;
  readonly revokeToken: (actor: Actor, id: string) => Promise<void>;
  /** Whose it is, in constant time; `undefined` where it is nobody's, revoked or expired. */
  readonly authenticate: (secret: string) => TokenView | undefined;

  readonly grants: () => readonly GrantView[];
  readonly grant: (actor: Actor, grant: NewGrant) => Promise<GrantView>;
  readonly revokeGrant: (actor: Actor, id: string) => Promise<void>;

  readonly lockdowns: () => readonly LockdownView[];
  /** `sandbox`: an id, or `*` for all. */
  readonly lockDown: (actor: Actor, sandbox: string, reason: string) => Promise<LockdownView>;
  readonly lift: (actor: Actor, sandbox: string, reason: string) => Promise<void>;

  readonly approvals: () => readonly ApprovalView[];
  readonly decideApproval: (actor: Actor, id: string, decision: Decision) => Promise<ApprovalView>;

  readonly budgets: (sandbox: string) => Promise<readonly BudgetView[]>;

  /** By the records of this machine. */
  readonly refusals: (sandbox: string) => Promise<readonly Refusal[]>;
  /** Deletes segments of the audit log that were over so many milliseconds ago; or, to try, only tells how many. */
  readonly pruneAudit: (
    actor: Actor,
    olderThan: number,
    preview: boolean,
  ) => Promise<{ readonly segments: number; readonly octets: number }>;

  /** Called after any of it changed, here or elsewhere. Returns what ends it. */
  readonly watch: (changed: () => void) => () => void;
  /** False while what is stored cannot be reached: what is known keeps serving, changes are refused. */
  readonly healthy: () => boolean;
};

/** What a control action can answer other than what was asked for; each has its HTTP status. */
export type ControlProblem =
  | "invalid"
  | "not-found"
  | "conflict"
  /** A requirement forbids it, whoever asks. */
  | "above-requirements"
  | "unavailable";

export class ControlError extends Error {
  readonly problem: ControlProblem;

  constructor(problem: ControlProblem, message: string) {
    super(message);
    this.name = "ControlError";
    this.problem = problem;
  }
}
