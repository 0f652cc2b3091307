// Reads what a request asks for: one target, on which request line, Host and tunnel agree, and the facts that the policy
// judges. What cannot be read in one way is a reason, not a guess.

import type { Sandbox } from "../identity/identify.ts";
import type { Authority } from "../net/authority.ts";
import { formatAuthority, parseAuthority, sameAuthority } from "../net/authority.ts";
import { isMethodOverride } from "../net/headers.ts";
import type { ParsedRequest } from "../net/http1-head.ts";
import type { Reason } from "../net/reasons.ts";
import { parseRequestTarget, type RequestPath } from "../net/request-target.ts";
import type { RequestFacts } from "../policy/types.ts";
import type { Connection, Redirect } from "./connection.ts";

export type Inquiry = {
  readonly method: string;
  readonly scheme: "http" | "https";
  readonly target: Authority;
  /** The same as a Host field has it. */
  readonly named: string;
  readonly path: RequestPath;
  /** Token of an upgrade that may be forwarded. */
  readonly upgrade: string | undefined;
};

export type Unreadable = { readonly reason: Reason; readonly target: Authority | undefined };

export function readInquiry(connection: Connection, request: ParsedRequest): Inquiry | Unreadable {
  const { tunnel, redirect } = connection;
  const { method } = request.head;
  if (tunnel === undefined && redirect !== undefined) return readRedirected(redirect, request);
  if (method === "CONNECT") {
    return {
      reason: tunnel === undefined ? "target-malformed" : "tunnel-within-tunnel",
      target: tunnel?.target,
    };
  }
  const asked = parseRequestTarget(method, request.head.target);
  if (asked === undefined || asked.form === "authority")
    return { reason: "target-malformed", target: tunnel?.target };
  const absolute = asked.form === "absolute" ? asked : undefined;
  const scheme = absolute?.scheme ?? tunnel?.scheme ?? "http";
  const target = tunnel?.target ?? absolute?.authority;
  // A request in origin form to the proxy itself: there is nothing here to be had that way.
  if (target === undefined) return { reason: "target-malformed", target };
  if (tunnel !== undefined && scheme !== tunnel.scheme) return { reason: "host-mismatch", target };
  if (absolute !== undefined && !sameAuthority(absolute.authority, target))
    return { reason: "host-mismatch", target };
  // Mostly it is said as it was said before, and need not be read.
  if (request.host !== undefined && request.host !== tunnel?.named) {
    const host = parseAuthority(request.host, DEFAULT_PORTS[scheme]);
    if (host === undefined) return { reason: "authority-malformed", target };
    if (!sameAuthority(host, target)) return { reason: "host-mismatch", target };
  }
  const named = tunnel?.named ?? formatAuthority(target, DEFAULT_PORTS[scheme]);
  return { method, scheme, target, named, path: asked.path, upgrade: upgradeOf(request) };
}

/** Where no proxy was asked, Host alone says where it goes; the port is that of the connection. */
function readRedirected({ port }: Redirect, request: ParsedRequest): Inquiry | Unreadable {
  const { method } = request.head;
  const asked = parseRequestTarget(method, request.head.target);
  if (asked?.form === "absolute" || asked?.form === "authority" || method === "CONNECT")
    return { reason: "not-a-proxy", target: undefined };
  if (request.host === undefined) return { reason: "host-ambiguous", target: undefined };
  const target = parseAuthority(request.host, port);
  if (target === undefined) return { reason: "authority-malformed", target };
  if (asked === undefined) return { reason: "target-malformed", target };
  if (target.port !== port) return { reason: "host-mismatch", target };
  const named = formatAuthority(target, DEFAULT_PORTS.http);
  return { method, scheme: "http", target, named, path: asked.path, upgrade: upgradeOf(request) };
}

/** An upgrade behind a body is left alone: where the body ends, nobody but the origin would know. */
function upgradeOf({ length, upgrade }: ParsedRequest): string | undefined {
  return length.kind === "none" ? forwardable(upgrade) : undefined;
}

export function requestFacts(
  inquiry: Inquiry,
  request: ParsedRequest,
  { policy, standing }: Sandbox,
  at: number,
): RequestFacts {
  return {
    stage: "request",
    policy,
    standing,
    at,
    target: inquiry.target,
    scheme: inquiry.scheme,
    method: inquiry.method,
    path: inquiry.path,
    upgrade: inquiry.upgrade !== undefined,
    body: request.length.kind !== "none",
    methodOverride: isMethodOverride(request.head.headers),
  };
}

/** An inquiry, or as much of one as was understood. */
export type Asked = Pick<Inquiry, "target"> & Partial<Inquiry>;

/** The request's URL for a person, without its query; of a CONNECT, its authority. */
export function urlOf({ scheme, target, path }: Asked): string {
  if (scheme === undefined || path === undefined) return formatAuthority(target);
  return `${scheme}://${formatAuthority(target, DEFAULT_PORTS[scheme])}${path.sent}`;
}

/**
 * An Upgrade may be ignored (RFC 9110 §7.8). h2c and in-band TLS are: they would carry requests that nobody judges.
 * A list is left to its first choice.
 */
function forwardable(upgrade: string | undefined): string | undefined {
  const token = upgrade?.split(",", 1)[0]?.trim();
  if (token === undefined || token === "" || /^(?:h2c?|tls\b|http\b)/i.test(token)) return undefined;
  return token;
}

export const DEFAULT_PORTS = { http: 80, https: 443 } as const;
