// What the audit log is told. The records' wire form, with hash and sequence, is in record.ts.

import type { Reason } from "../net/reasons.ts";
import type { Phase, RuleRef, Stage } from "../policy/types.ts";

/** What a pair of records is about. */
export type Kind =
  /** A CONNECT; the tunnel's bytes are in its completion. */
  | "connect"
  /** One request and its response, plain or inside a tunnel. */
  | "request"
  /** An upgraded request; the bytes after 101 are in its completion. */
  | "upgrade"
  /** TLS with the sandbox that failed, or whose ClientHello was refused. */
  | "handshake"
  /** A question to the DNS responder; its type stands as the method. */
  | "dns"
  /** Bytes that could not be read as a request. */
  | "malformed"
  /** A connection that was refused before it said anything. */
  | "connection";

/** Known before the verdict; strings come from the sandbox and are escaped by the log. */
export type Subject = {
  readonly kind: Kind;
  /** Audit id of the CONNECT that this happened inside, if any. */
  readonly tunnel: string | undefined;
  readonly connection: string;
  /** How it came in, where not by asking a proxy. */
  readonly way?: "transparent" | undefined;
  /** Sandbox's address and port as the proxy saw it. */
  readonly source: string;
  readonly sandbox: string | undefined;
  /** What whoever registered the sandbox said of it. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly phase: Phase | undefined;
  readonly policy: string | undefined;
  readonly generation: number;
  readonly method: string | undefined;
  readonly scheme: "http" | "https" | undefined;
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** Path without query, as sent. */
  readonly path: string | undefined;
  /** Query with its `?`; redacted unless `keepQuery`. */
  readonly query: string | undefined;
  readonly keepQuery: boolean;
};

export type DecisionFields = {
  readonly verdict: "allow" | "deny" | "fault";
  /** Where it was decided; `undefined` for faults before any stage. */
  readonly stage: Stage | undefined;
  readonly reason: Reason | undefined;
  readonly rule: RuleRef | undefined;
  readonly preset: string | undefined;
  readonly handling: "intercept" | "splice" | "tcp" | undefined;
  /** Report-only: what would have been denied. */
  readonly wouldDeny: { readonly reason: Reason; readonly rule: RuleRef | undefined } | undefined;
  /** Names of the secrets that are put in; never their values. */
  readonly secrets?: readonly string[] | undefined;
  /** Addresses that may be dialed, after judgement. */
  readonly addresses: readonly string[] | undefined;
  /** `host:port` of the parent proxy on the way to the origin. */
  readonly parent?: string | undefined;
  /** The origin's name was not resolved here, and its address not judged: the parent proxy is told the name. */
  readonly unresolved?: boolean;
};

export type CompletionFields = {
  readonly outcome: "completed" | "refused" | "aborted" | "fault";
  readonly reason: Reason | undefined;
  /** Status answered to the sandbox. */
  readonly status: number | undefined;
  /** The one dialed. */
  readonly address: string | undefined;
  /** Octets sent to the origin / to the sandbox: heads, bodies, tunnel and upgraded bytes; TLS overhead aside. */
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Milliseconds. `waited`: from the request's last head byte to the origin's first; `total`: to the end. */
  readonly msTotal: number;
  readonly msOrigin: number | undefined;
};

/** One exchange's two records. */
export type AuditEntry = {
  /** Unique; shown to the sandbox in a refusal. */
  readonly id: string;
  /**
   * Resolves once the decision record is written (and, under `durability: disk`, synced). Rejects with
   * ProxyFault `audit-unavailable`; then nothing may be forwarded.
   */
  decide(fields: DecisionFields): Promise<void>;
  /** Exactly once, after `decide`; queued, never awaited. Bounded: where the log fails, completions are kept and written on recovery, up to a limit, and then counted as lost. */
  complete(fields: CompletionFields): void;
};

export type Audit = {
  begin(subject: Subject): AuditEntry;
  /** Things that are not exchanges: start, stop, reload, a worker that came or went. */
  note(
    event: "start" | "stop" | "reload" | "worker" | "control",
    fields: Readonly<Record<string, string | number | boolean>>,
  ): void;
  /** As `note`, for what must not happen unrecorded: resolves once it is written, rejects with ProxyFault `audit-unavailable`. */
  noted(event: "control", fields: Readonly<Record<string, string | number | boolean>>): Promise<void>;
  /** False while the log cannot be written. */
  readonly healthy: boolean;
};
