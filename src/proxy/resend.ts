// Whether a request may go out a second time: only where the origin closed an idle connection at the moment it was used
// again and said nothing, and where nothing is lost or done twice (RFC 9110 §9.2.2).

import { ProxyFault } from "../net/fault.ts";
import type { UpstreamConnection, UpstreamRequest } from "../upstream/engine.ts";

export function mayBeSentAgain(
  { reused, answering }: UpstreamConnection,
  fault: unknown,
  { method, body, upgrade }: UpstreamRequest,
): boolean {
  if (!reused || answering || !(fault instanceof ProxyFault) || fault.reason !== "upstream-reset")
    return false;
  const safe = method === "GET" || method === "HEAD" || method === "OPTIONS";
  return safe && body.length.kind === "none" && upgrade === undefined;
}
