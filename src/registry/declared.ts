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
};

/** A phase that the operator's file has since been given anew stands above the move. */
export function phaseInForce(file: { readonly phase: Phase }, moved: SandboxBody | undefined): Phase {
  return moved?.origin === "file" && moved.declared === file.phase ? moved.phase : file.phase;
}
