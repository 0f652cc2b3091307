// What operators, runtimes and administrators say of sandboxes while the proxy runs, and how it is answered. The data path is
// handed what becomes of it (identity's `Sandbox`), never these.

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
