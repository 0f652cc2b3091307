// Which requests the admin listener looks at: those to a name that is its own, not sent by another site's page.

import type { IncomingMessage } from "node:http";
import { parseAddress, unmapped } from "../net/address.ts";
import { parseAuthority } from "../net/authority.ts";
import type { Answer } from "./answer.ts";

/** Undefined where the request may be looked at. */
export function guard(
  request: IncomingMessage,
  mayCall: (field: string, local: string | undefined) => boolean,
): Answer | undefined {
  const { host, origin, "sec-fetch-site": site } = request.headers;
  const hosts = request.headersDistinct["host"]?.length;
  // A rebound DNS name reaches this address with a Host of the attacker's own.
  if (host === undefined || hosts !== 1 || !mayCall(host, request.socket.localAddress)) {
    return {
      status: 421,
      text: "This listener is not known by that name; see `admin` in the configuration.\n",
    };
  }
  const foreign = origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`;
  if (foreign || (site !== undefined && site !== "same-origin" && site !== "none")) {
    return { status: 403, text: "Pages of other sites are not answered.\n" };
  }
  return undefined;
}

/**
 * Says whether a Host field names this listener: loopback, the address it listens on, the address that the connection came to, or a
 * configured name. The port is not looked at, as forwarding changes it.
 */
export function hostGuard(
  listen: string,
  names: readonly string[],
): (field: string, local: string | undefined) => boolean {
  const known = new Set(["localhost", "127.0.0.1", "::1", canonical(listen), ...names.map(canonical)]);
  // Wildcards name no machine; browsers take them for loopback.
  for (const wildcard of ["0.0.0.0", "::"]) known.delete(wildcard);
  return (field, local) => {
    const host = parseAuthority(field, 80)?.host;
    return host !== undefined && (known.has(host) || (local !== undefined && canonical(local) === host));
  };
}

/** Node writes IPv4 peers of a dual-stack listener as `::ffff:192.0.2.1`. */
function canonical(host: string): string {
  return parseAddress(unmapped(host)) ?? host.toLowerCase();
}
