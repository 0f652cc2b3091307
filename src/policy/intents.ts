// A verb is not an intent: what a request is for, where its method does not tell. Intents are named exceptions
// to a method limit; asking for a push is refused under every such limit, with or without an intent.

import type { RequestPath } from "../net/request-target.ts";
import type { Intent, RequestFacts } from "./types.ts";

/** The intent that covers this request, of those named. Only a path that reads one way can be covered. */
export function covering(intents: readonly Intent[], facts: RequestFacts): Intent | undefined {
  if (facts.path.ambiguous || !facts.path.plain) return undefined;
  return intents.find((intent) => COVERS[intent](facts));
}

/** The advertisement that precedes a push, or the push itself, in any reading of path and query. */
export function asksForPush({ method, path }: RequestFacts): boolean {
  if (method === "POST" && (endsIn(path.canonical, RECEIVE) || endsIn(path.sent, RECEIVE))) return true;
  return path.query !== "" && services(path).includes(RECEIVE);
}

const RECEIVE = "git-receive-pack";

// Exactly what git sends. Git LFS is not here: its batch endpoint negotiates uploads too.
const COVERS: Record<Intent, (facts: RequestFacts) => boolean> = {
  "git-fetch": ({ method, path, body }) =>
    (method === "POST" && path.query === "" && path.canonical.endsWith("/git-upload-pack")) ||
    (method === "GET" &&
      !body &&
      path.query === "?service=git-upload-pack" &&
      path.canonical.endsWith("/info/refs")),
  "npm-audit": ({ method, path }) => method === "POST" && path.query === "" && AUDITS.has(path.canonical),
};

const AUDITS: ReadonlySet<string> = new Set([
  "/-/npm/v1/security/advisories/bulk",
  "/-/npm/v1/security/audits/quick",
]);

/** Some servers route without regard to case, a trailing slash or what follows a `;`. */
function endsIn(path: string, segment: string): boolean {
  return decode(path).replace(/;.*$/s, "").replace(/\/+$/, "").toLowerCase().endsWith(`/${segment}`);
}

/** Every value that some server may read as `service`. */
function services(path: RequestPath): string[] {
  return path.query
    .slice(1)
    .split(/[&;?]/)
    .map((pair) => decode(pair).toLowerCase().split("="))
    .filter(([name]) => name!.trim() === "service")
    .map(([, value]) => (value ?? "").trim());
}

function decode(text: string): string {
  const octet = (_: string, hex: string): string => String.fromCharCode(Number.parseInt(hex, 16));
  return text.replaceAll("+", " ").replace(/%([0-9A-Fa-f]{2})/g, octet);
}
