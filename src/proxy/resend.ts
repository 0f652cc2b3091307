// Whether a request may go out a second time: where the origin closed an idle connection at the moment it was used again and
// said nothing, or says that it did nothing with it; and only where nothing is lost or done twice (RFC 9110 §9.2.2).

import { ProxyFault } from "../net/fault.ts";
import type { UpstreamConnection, UpstreamRequest } from "../upstream/engine.ts";

export function mayBeSentAgain(
  { reused, answering, unprocessed }: UpstreamConnection,
  fault: unknown,
  { method, body, upgrade }: UpstreamRequest,
): boolean {
  if (answering || !(fault instanceof ProxyFault) || fault.reason !== "upstream-reset") return false;
  // A body has begun to flow by then, and is not kept.
  if (body.length.kind !== "none" || upgrade !== undefined) return false;
  return unprocessed || (reused && (method === "GET" || method === "HEAD" || method === "OPTIONS"));
}
