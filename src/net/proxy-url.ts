// The URL of another proxy, read in one way: http or https, a host, a port that is written, and credentials for it alone.

import { parsePort } from "./authority.ts";
import { type Host, parseHostUnicode } from "./host.ts";
import { Secret } from "./secret.ts";

export type ProxyUrl = {
  /** TLS to the proxy itself. */
  readonly secure: boolean;
  readonly host: Host;
  readonly port: number;
  /** `user:password`, percent-decoded, for HTTP Basic (RFC 7617). */
  readonly credentials: Secret | undefined;
};

/** `http://proxy.example:8080`, `https://user:pass%20word@[2001:db8::1]:8443/`. What else a URL may hold is undefined. */
export function parseProxyUrl(text: string): ProxyUrl | undefined {
  const [, scheme, userinfo, name = "", digits = ""] = URL_FORM.exec(text) ?? [];
  if (scheme === undefined) return undefined;
  const host = parseHostUnicode(name);
  const port = parsePort(digits, 0);
  const credentials = userinfo === undefined ? undefined : parseUserinfo(userinfo);
  if (host === undefined || port === undefined || credentials === null) return undefined;
  return { secure: scheme === "https", host, port, credentials };
}

/** `null`: cannot be sent as Basic credentials. The first colon as written divides, so the user's name cannot hold one. */
function parseUserinfo(text: string): Secret | null {
  const colon = text.indexOf(":");
  const user = decode(colon < 0 ? text : text.slice(0, colon));
  const password = decode(colon < 0 ? "" : text.slice(colon + 1));
  if (user === undefined || password === undefined || user.includes(":") || user + password === "")
    return null;
  return new Secret(`${user}:${password}`);
}

/** Without controls, which could end the field that it is sent in. */
function decode(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return CONTROLS.test(decoded) ? undefined : decoded;
  } catch {
    return undefined;
  }
}

const URL_FORM = /^(https?):\/\/(?:([^@/?#\s]*)@)?(\[[^\]@/?#]*\]|[^@:/?#[\]]+):([0-9]+)\/?$/;
const CONTROLS = /[\p{Cc}\p{Cs}]/u;
