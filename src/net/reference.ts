// The documentation of the reasons, rendered from their table: docs/reasons.md. Decides nothing.

import { REASONS, type ReasonKind } from "./reasons.ts";

export function renderReasons(): string {
  const entries = Object.entries(REASONS);
  return KINDS.map(([kind, heading]) => {
    const rows = entries
      .filter(([, entry]) => entry.kind === kind)
      .map(
        ([reason, { status, proxyError, text }]) =>
          `| \`${reason}\` | ${status} | \`${proxyError}\` | ${text} |`,
      );
    return [
      `## ${heading}`,
      "",
      "| Reason | Status | Proxy error | What the sandbox is told |",
      "|---|---|---|---|",
      ...rows,
    ].join("\n");
  }).join("\n\n");
}

const KINDS: readonly (readonly [ReasonKind, string])[] = [
  ["deny", "Verdicts of the policy"],
  ["auth", "Who is asking is not known"],
  ["malformed", "Input that cannot be read in exactly one way"],
  ["limit", "Bounds on time, size and number"],
  ["fault", "Faults: ours or the origin's"],
];
