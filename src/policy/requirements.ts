// What an administrator requires of every policy, as values. What is absent limits nothing; what is there is exceeded by
// no policy, grant, approval or call.

import type { Budget, Intent } from "./types.ts";

/** One limit, and where it is written: `file:line:column`. */
export type Limit<T> = { readonly value: T; readonly source: string };

/** Roles that may grant and approve, each less than the next. */
export type ApproverRole = "approver" | "operator" | "admin";

/** What one source says; where there are several, all of them hold. */
export type Requirements = {
  /** A file, or the name of a variable. */
  readonly source: string;
  /** Presets that may be used, alone. A preset brings along what it includes, but `all` must be named itself. */
  readonly presets: Limit<readonly string[]> | undefined;
  /** The most methods that may be allowed. Under a limit nothing is passed unread unless `tcp` names it. */
  readonly methods: Limit<readonly string[]> | undefined;
  /** Exceptions to `methods` that policies may name. */
  readonly intents: readonly Intent[];
  /** Host patterns, and networks, that may be allowed, alone. */
  readonly hosts: Limit<readonly string[]> | undefined;
  /** Host patterns and networks that are always denied. */
  readonly deny: readonly Limit<string>[];
  /** Hosts whose TLS may be passed unread, alone. */
  readonly splice: Limit<readonly string[]> | undefined;
  /** Hosts to which raw TCP may pass, alone. */
  readonly tcp: Limit<readonly string[]> | undefined;
  readonly mode: Limit<"enforce"> | undefined;
  /** The most that each sandbox may use up, beside what its policy says. */
  readonly budgets: readonly Budget[];
  /** Of the audit log. */
  readonly durability: Limit<"disk"> | undefined;
  readonly grants: {
    /** The least role that may grant or approve. */
    readonly role: Limit<ApproverRole> | undefined;
    readonly longestMs: Limit<number> | undefined;
    /** Whether an approval may become a rule of the file. */
    readonly always: Limit<boolean> | undefined;
  };
};

/** Hosts that may be passed unread so: what is not read cannot be held to methods, so under a limit of them none. */
export function unreadable(
  requirements: Requirements,
  kind: "splice" | "tcp",
): Limit<readonly string[]> | undefined {
  const { methods } = requirements;
  return requirements[kind] ?? (methods && { value: [], source: methods.source });
}
