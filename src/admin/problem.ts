// What the API answers instead of what was asked for: problem details (RFC 9457), each kind with its status.

import type { ControlProblem } from "../registry/types.ts";
import type { Answer } from "./answer.ts";

export const PROBLEMS = {
  invalid: { status: 400, title: "The request is not understood." },
  unauthenticated: { status: 401, title: "A valid API token is required." },
  forbidden: { status: 403, title: "The token's role may not do this." },
  "above-requirements": { status: 403, title: "The administrator's requirements forbid it." },
  "not-found": { status: 404, title: "There is no such thing." },
  "method-not-allowed": { status: 405, title: "Not with this method." },
  conflict: { status: 409, title: "It is not as the request takes it to be." },
  "too-large": { status: 413, title: "The body is too large." },
  "not-json": { status: 415, title: "The body is not JSON." },
  "slow-down": { status: 429, title: "Too many wrong tokens." },
  internal: { status: 500, title: "Internal error; the proxy's log says more." },
  unavailable: { status: 503, title: "What is needed cannot be reached or written." },
} as const;

export type ProblemKind = keyof typeof PROBLEMS;

export type Flaw = { readonly path: string; readonly message: string };

/** Thrown by whatever finds that it cannot be answered. */
export class Problem extends Error {
  readonly kind: ProblemKind;
  readonly flaws: readonly Flaw[];
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    kind: ProblemKind,
    detail: string,
    more: { readonly flaws?: readonly Flaw[]; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
    this.name = "Problem";
    this.kind = kind;
    this.flaws = more.flaws ?? [];
    this.headers = more.headers ?? {};
  }
}

/** `undefined`: a defect, of which the asker is told nothing. */
export function problemOf(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error;
  if (!(error instanceof Error) || !("problem" in error)) return undefined;
  const kind = error.problem as ControlProblem;
  const headers = kind === "unavailable" ? { "Retry-After": "1" } : {};
  return Object.hasOwn(PROBLEMS, kind) ? new Problem(kind, error.message, { headers }) : undefined;
}

export function problemAnswer({ kind, message, flaws, headers }: Problem): Answer {
  const { status, title } = PROBLEMS[kind];
  const body = {
    type: `urn:sallyport:problem:${kind}`,
    title,
    status,
    detail: message,
    ...(flaws.length === 0 ? {} : { errors: flaws }),
  };
  return { status, text: `${JSON.stringify(body)}\n`, type: "application/problem+json", headers };
}
