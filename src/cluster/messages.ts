// What the primary and its workers tell each other. Both ends are this program; values cross as structured clones.

import type { Config } from "../config/types.ts";
import type { RosterUpdate } from "../identity/roster.ts";
import type { Host } from "../net/host.ts";
import type { Reason } from "../net/reasons.ts";
import type { Secret } from "../net/secret.ts";
import type { Requirements } from "../policy/requirements.ts";
import type { Policy } from "../policy/types.ts";
import type { CollectedMetrics } from "../telemetry/merge.ts";
import type { MintedLeaf } from "../tls/minter.ts";
import type { AnswerMessage, AskMessage } from "./remote-approvals.ts";
import type { DrawMessage, DrawnMessage } from "./remote-budgets.ts";
import type { ProxyTlsFiles } from "../tls/proxy-tls.ts";
import type { TrustMaterial } from "../upstream/trust.ts";

/** A configuration that the primary judged, with the content of every file that it names: workers read none of them. */
export type Settings = {
  readonly generation: number;
  readonly config: SharedConfig;
  readonly requirements: readonly Requirements[];
  readonly policies: Told<readonly Policy[]>;
  readonly materials: {
    readonly origins: TrustMaterial;
    readonly parents: readonly (TrustMaterial | undefined)[];
    readonly tls: ProxyTlsFiles | undefined;
    readonly ticketKeys: Uint8Array | undefined;
  };
};

/** A class does not cross, so secrets are told here; the channel is a pair of sockets that no other process holds. */
export type SharedConfig = Told<Config>;

type Told<T> = T extends Secret
  ? string
  : T extends string | ReadonlyMap<unknown, unknown> | Uint8Array
    ? T
    : T extends object
      ? { readonly [K in keyof T]: Told<T[K]> }
      : T;

export type Address = { readonly address: string; readonly port: number };

/** Each in the order of the configuration. */
export type Addresses = {
  readonly proxy: readonly Address[];
  readonly transparent: readonly Address[];
  readonly dns: readonly Address[];
  /** Unix sockets: their paths. */
  readonly sockets: readonly Address[];
};

export type WorkerStart = {
  /** The lowest number that no other worker has: names its audit directory. */
  readonly slot: number;
  readonly settings: Settings;
  /** What holds for sandboxes beside the settings. */
  readonly roster: RosterUpdate;
  readonly auditDirectory: string;
  /** All chains of one proxy are signed with one key. */
  readonly auditKeyFile: string;
  readonly leafKeyPem: string;
  readonly anchorPem: string;
  /** Where no file says other ones. */
  readonly ticketKeys: Uint8Array;
  readonly pseudonym: string;
  /** Where the primary listens: no worker may connect there (invariant 8). */
  readonly admin: Address | undefined;
  readonly version: string;
};

/** `stop`: all of the proxy does. `leave`: others go on, so nobody is turned away. */
export type DrainHow = "stop" | "leave";

export type LeafAnswer =
  | { readonly ok: true; readonly leaf: MintedLeaf }
  | { readonly ok: false; readonly reason: Reason };

export type Guess = { readonly source: string; readonly at: number };

export type ToWorker =
  | AnswerMessage
  | DrawnMessage
  | { readonly type: "start"; readonly start: WorkerStart }
  | { readonly type: "publish"; readonly settings: Settings }
  | { readonly type: "roster"; readonly id: number; readonly update: RosterUpdate }
  | { readonly type: "leaf"; readonly id: number; readonly answer: LeafAnswer }
  | { readonly type: "scrape"; readonly id: number }
  | { readonly type: "guess"; readonly guess: Guess }
  | { readonly type: "drain"; readonly how: DrainHow };

export type StartFailure = {
  readonly message: string;
  readonly code: string | undefined;
  readonly address: string | undefined;
  readonly port: number | undefined;
};

export type ToPrimary =
  | AskMessage
  | DrawMessage
  | { readonly type: "listening"; readonly listeners: Addresses; readonly generation: number }
  | { readonly type: "failed"; readonly failure: StartFailure }
  | { readonly type: "published"; readonly generation: number; readonly error: string | undefined }
  | { readonly type: "rostered"; readonly id: number }
  | { readonly type: "leaf"; readonly id: number; readonly host: Host; readonly asker: string }
  | { readonly type: "metrics"; readonly id: number; readonly metrics: CollectedMetrics }
  | { readonly type: "alive"; readonly auditHealthy: boolean }
  | { readonly type: "guess"; readonly guess: Guess }
  | { readonly type: "drained"; readonly metrics: CollectedMetrics };
