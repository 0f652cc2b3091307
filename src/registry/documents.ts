// What the registry's documents hold. Only this process and its replicas write them, so that they are taken for what they say.

import type { Phase } from "../policy/types.ts";
import type { Body, Document } from "../store/types.ts";
import type { GrantView, Labels, LockdownView, SandboxState, TokenView } from "./types.ts";

/** Times are milliseconds since the epoch. */
export type SandboxBody = {
  /** `file`: the operator's file declares it, and this holds its phase alone. */
  readonly origin: "file" | "api";
  /** Of the file's: the phase that the file gave when it was moved. */
  readonly declared?: Phase | undefined;
  readonly state: SandboxState;
  readonly policies: { readonly [phase in Phase]: string };
  readonly phase: Phase;
  readonly agentAt?: number | undefined;
  readonly expires?: number | undefined;
  readonly labels: Labels;
  readonly sources: readonly string[];
  readonly digest: string;
  /** Name of the actor that registered it. */
  readonly owner: string;
  readonly createdAt: number;
  readonly endedAt?: number | undefined;
  readonly endedBecause?: string | undefined;
};

export type TokenBody = Omit<TokenView, "id" | "version"> & { readonly digest: string };
export type GrantBody = Omit<GrantView, "id" | "version">;
/** Its document's id is the sandbox's, or `*`. */
export type LockdownBody = Omit<LockdownView, "sandbox">;

type Bodies = {
  readonly sandbox: SandboxBody;
  readonly token: TokenBody;
  readonly grant: GrantBody;
  readonly lockdown: LockdownBody;
};

export function bodyOf<K extends keyof Bodies>(kind: K, document: Document): Bodies[K] {
  if (document.kind !== kind) throw new TypeError(`a ${document.kind} is no ${kind}`);
  return document.body as unknown as Bodies[K];
}

export function toBody(body: SandboxBody | TokenBody | GrantBody | LockdownBody): Body {
  return body;
}
