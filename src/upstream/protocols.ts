// Which protocols an origin is offered: HTTP/2 where a request came by it, or where the operator wants it always. What an origin
// has shown itself to want is remembered for a while; it never widens what is offered to others than https origins.

import { LRUCache } from "lru-cache";
import { ProxyFault } from "../net/fault.ts";
import type { Origin } from "./engine.ts";
import { errorCode } from "./faults.ts";

/** `auto`: as the request came. */
export type Http2Mode = "auto" | "always" | "never";
export type Offer = readonly ("h2" | "http/1.1")[];

export type Protocols = {
  offer(origin: Origin): Offer;
  /** After a handshake that failed: another offer to try, once. */
  otherwise(origin: Origin, offer: Offer, fault: unknown): Offer | undefined;
  /** The origin said HTTP_1_1_REQUIRED. */
  http1Required(origin: Origin): void;
};

export function createProtocols(mode: Http2Mode, { max = 1024, maxAgeMs = 600_000 } = {}): Protocols {
  const only = new LRUCache<string, "h2" | "http/1.1">({ max, ttl: maxAgeMs });

  const offer = (origin: Origin): Offer => {
    const { scheme, by } = origin;
    if (scheme === "http" || by === "upgrade" || mode === "never") return HTTP1;
    const known = only.size === 0 ? undefined : only.get(keyOf(origin));
    if (known !== undefined) return known === "h2" ? HTTP2 : HTTP1;
    return mode === "always" || by === "2" ? BOTH : HTTP1;
  };

  return {
    offer,
    otherwise(origin, refused, fault) {
      if (mode === "never" || origin.by === "upgrade" || !isRefusedOffer(fault)) return undefined;
      if (refused === HTTP1) {
        only.set(keyOf(origin), "h2");
        return HTTP2;
      }
      if (refused === BOTH) return undefined;
      // It was asked for HTTP/2 alone, and has changed since.
      only.delete(keyOf(origin));
      return offer(origin);
    },
    http1Required: (origin) => void only.set(keyOf(origin), "http/1.1"),
  };
}

/** RFC 7301 §3.2: the alert no_application_protocol. */
function isRefusedOffer(fault: unknown): boolean {
  if (!(fault instanceof ProxyFault)) return false;
  return errorCode(fault.cause)?.endsWith("_ALERT_NO_APPLICATION_PROTOCOL") === true;
}

function keyOf({ target }: Origin): string {
  return `${target.host} ${target.port}`;
}

const HTTP1: Offer = ["http/1.1"];
const HTTP2: Offer = ["h2"];
const BOTH: Offer = ["h2", "http/1.1"];
