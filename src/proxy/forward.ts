// Writes messages anew for their next hop: the one place where hop-by-hop fields end, Host is made canonical, and Via is added.

import { all, beginsWith, endToEnd, type HeaderPairs, isName, tokens } from "../net/headers.ts";
import type { ParsedRequest } from "../net/http1-head.ts";
import type { BodySource, ResponseHead } from "../net/message.ts";
import type { UpstreamRequest } from "../upstream/engine.ts";
import { type Injection, injected, maskedFields, maskedText } from "./inject.ts";
import type { Inquiry } from "./inquiry.ts";

export type OutwardOptions = {
  readonly request: ParsedRequest;
  readonly inquiry: Inquiry;
  readonly body: BodySource;
  readonly pseudonym: string;
  readonly injections: readonly Injection[] | undefined;
};

export function outward({ request, inquiry, body, pseudonym, injections }: OutwardOptions): UpstreamRequest {
  const { method, named, path, upgrade } = inquiry;
  const headers = endToEnd(request.head.headers, ["Host", named], isOursOutward);
  headers.push("Via", via(request.head.headers, pseudonym, request.head.version));
  const trailers = tokens(request.head.headers, "te").includes("trailers");
  const sent = { method, target: path.sent + path.query, headers, body, upgrade, trailers };
  return injections === undefined ? sent : injected(sent, injections);
}

/**
 * Also what invites a sandbox to QUIC is gone: nothing of that would pass this way. And what only this proxy says: an origin
 * must not pass its own words off as a verdict, with an audit id of its choice.
 */
export function inward(
  head: ResponseHead,
  pseudonym: string,
  injections?: readonly Injection[],
): ResponseHead {
  const headers = endToEnd(head.headers, [], isOursInward);
  headers.push("Via", via(head.headers, pseudonym));
  if (injections === undefined) return { status: head.status, reason: head.reason, headers };
  const reason = maskedText(head.reason, injections);
  return { status: head.status, reason, headers: maskedFields(headers, injections) };
}

/** Host and Via are written anew. */
function isOursOutward(name: string): boolean {
  return isName(name, "host") || isName(name, "via");
}

function isOursInward(name: string, value: string): boolean {
  if (isName(name, "alt-svc") || isName(name, "via")) return true;
  if (isName(name, "proxy-status")) return /sallyport/i.test(value);
  return beginsWith(name, "sallyport-");
}

/** This very proxy already stands in Via (RFC 9110 §7.6.3). */
export function looped(headers: HeaderPairs, pseudonym: string): boolean {
  return all(headers, "via").some((value) =>
    value.split(",").some((hop) => hop.trim().split(/\s+/)[1] === pseudonym),
  );
}

/** `version`: in which the message came (RFC 9110 §7.6.3). */
function via(headers: HeaderPairs, pseudonym: string, version = "1.1"): string {
  const before = all(headers, "via");
  const own = `${version === "1.0" ? "1.1" : version} ${pseudonym}`;
  return before.length === 0 ? own : `${before.join(", ")}, ${own}`;
}
