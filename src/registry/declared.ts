// What the operator's file declares, and where its word ends: a sandbox of the file may be moved to another phase while it runs.

import type { Phase } from "../policy/types.ts";
import type { SandboxBody } from "./documents.ts";

/** As of the file's newest generation. */
export type Declared = {
  readonly sandboxes: readonly DeclaredSandbox[];
  /** Names of policies that there are. */
  readonly policies: readonly string[];
};

export type DeclaredSandbox = {
  readonly id: string;
  readonly policies: { readonly [phase in Phase]: string };
  readonly phase: Phase;
  /** Networks that are its own. */
  readonly sources?: readonly string[] | undefined;
};

/** Looked up by id: a file may declare as many as a registry holds. */
export function declaredSandbox(declared: Declared, id: string): DeclaredSandbox | undefined {
  let byId = indexes.get(declared);
  if (byId === undefined) {
    byId = new Map(declared.sandboxes.map((one) => [one.id, one]));
    indexes.set(declared, byId);
  }
  return byId.get(id);
}

const indexes = new WeakMap<Declared, ReadonlyMap<string, DeclaredSandbox>>();

/** A phase that the operator's file has since been given anew stands above the move. */
export function phaseInForce(file: { readonly phase: Phase }, moved: SandboxBody | undefined): Phase {
  return moved?.origin === "file" && moved.declared === file.phase ? moved.phase : file.phase;
}
