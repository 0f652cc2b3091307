// The request target (RFC 9112 §3.2) and the readings of its path that a policy must hold under.

import { type Authority, parseAuthority } from "./authority.ts";

export type RequestPath = {
  /** What is sent upstream: dot segments resolved (also `%2e`), no fragment, else as received. Starts with `/`. No query. */
  readonly sent: string;
  /** What rules are matched against: unreserved octets decoded, hex upper-case, `%2F` as `/`, `//` collapsed, dots resolved. */
  readonly canonical: string;
  /** `sent` and `canonical` are the same path, unreserved percent-encoding and hex case aside. */
  readonly plain: boolean;
  /** May be read in more ways than these two: double encoding, backslash, `%5C`, `%00`, `;` in a dot segment, invalid UTF-8. */
  readonly ambiguous: boolean;
  /** With its `?`; empty where there is none. */
  readonly query: string;
};

export type RequestTarget =
  | { readonly form: "origin"; readonly path: RequestPath }
  | {
      readonly form: "absolute";
      readonly scheme: "http" | "https";
      readonly authority: Authority;
      readonly path: RequestPath;
    }
  | { readonly form: "authority"; readonly authority: Authority }
  /** `*`, OPTIONS only; sent as it is. */
  | { readonly form: "asterisk"; readonly path: RequestPath };

/**
 * CONNECT takes the authority form only; everything else never does. Userinfo, fragments, controls, non-ASCII,
 * broken percent-encoding and other schemes are undefined.
 */
export function parseRequestTarget(method: string, text: string): RequestTarget | undefined {
  if (method === "CONNECT") {
    const authority = parseAuthority(text);
    return authority && { form: "authority", authority };
  }
  if (text.charCodeAt(0) === SLASH) {
    const path = parsePath(text);
    return path && { form: "origin", path };
  }
  if (text === "*") return method === "OPTIONS" ? { form: "asterisk", path: ASTERISK } : undefined;
  return parseAbsolute(method, text);
}

/** `/path?query`, as in the origin form. */
export function parsePath(text: string): RequestPath | undefined {
  if (text.charCodeAt(0) !== SLASH) return undefined;
  const shape = scan(text);
  if (shape === undefined) return undefined;
  const raw = text.slice(0, shape.end);
  const query = text.slice(shape.end);
  if (shape.canonical) return { sent: raw, canonical: raw, plain: true, ambiguous: false, query };
  if (raw.includes("%00")) return undefined;
  const decoded = decodeUnreserved(raw);
  const canonical = resolveDots(decoded.replaceAll("%2F", "/").replace(/\/{2,}/g, "/"));
  return {
    sent: resolveDots(raw),
    canonical,
    plain: resolveDots(decoded) === canonical,
    ambiguous: isAmbiguous(decoded),
    query,
  };
}

function parseAbsolute(method: string, text: string): RequestTarget | undefined {
  const match = /^(https?):\/\/([^/?]*)/i.exec(text);
  if (!match) return undefined;
  const scheme = match[1]!.length === 4 ? "http" : "https";
  const authority = parseAuthority(match[2]!, scheme === "http" ? 80 : 443);
  const rest = text.slice(match[0].length);
  // RFC 9112 §3.2.4: the last proxy turns an OPTIONS without a path into the asterisk form.
  const path =
    rest === "" && method === "OPTIONS" ? ASTERISK : parsePath(rest.startsWith("/") ? rest : `/${rest}`);
  return authority && path && { form: "absolute", scheme, authority, path };
}

/**
 * One pass over path and query: undefined where an octet may not stand in a request target. Of the characters that
 * RFC 3986 leaves out, `"<>^{|}` and the backtick pass, since clients send them; a backslash does not, since some
 * servers read it as a slash. `canonical`: no segment begins with a dot or is empty, and nothing is percent-encoded.
 */
function scan(text: string): { end: number; canonical: boolean } | undefined {
  let end = -1;
  let canonical = true;
  let previous = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code <= SPACE || code >= DELETE || code === HASH || code === BACKSLASH) return undefined;
    if (code === PERCENT && !(isHex(text.charCodeAt(at + 1)) && isHex(text.charCodeAt(at + 2))))
      return undefined;
    if (end >= 0) continue;
    if (code === QUESTION) end = at;
    else if (code === PERCENT || (previous === SLASH && (code === SLASH || code === DOT))) canonical = false;
    previous = code;
  }
  return { end: end < 0 ? text.length : end, canonical };
}

/** RFC 3986 §5.2.4, with `%2e` as a dot; what would climb above the root stays there. */
function resolveDots(path: string): string {
  const segments = path.slice(1).split("/");
  const kept: string[] = [];
  for (const [at, segment] of segments.entries()) {
    const dots = /^(?:\.|%2e){1,2}$/i.test(segment);
    if (dots) {
      if (/^(?:\.|%2e){2}$/i.test(segment)) kept.pop();
      if (at === segments.length - 1) kept.push("");
    } else kept.push(segment);
  }
  return `/${kept.join("/")}`;
}

function decodeUnreserved(path: string): string {
  return path.replace(/%[0-9a-f]{2}/gi, (encoded) => {
    const character = String.fromCharCode(Number.parseInt(encoded.slice(1), 16));
    return /[\w.~-]/.test(character) ? character : encoded.toUpperCase();
  });
}

function isAmbiguous(decoded: string): boolean {
  // %25 before two hex digits: double encoding. %5C: a slash to some. Controls: cut or folded by some.
  if (/%25[0-9a-f]{2}|%5C|%[01][0-9A-F]|%7F/i.test(decoded)) return true;
  // `..;x` is a dot segment to servers that take path parameters off first.
  if (/(?:\/|%2F)\.{1,2}(?:;|%3B)/.test(decoded)) return true;
  return /%[89A-F]/.test(decoded) && !isUtf8(decoded);
}

function isUtf8(encoded: string): boolean {
  try {
    decodeURIComponent(encoded);
    return true;
  } catch {
    return false;
  }
}

function isHex(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || ((code | 0x20) >= 0x61 && (code | 0x20) <= 0x66);
}

const ASTERISK: RequestPath = { sent: "*", canonical: "*", plain: true, ambiguous: false, query: "" };
const SPACE = 0x20;
const HASH = 0x23;
const PERCENT = 0x25;
const DOT = 0x2e;
const SLASH = 0x2f;
const QUESTION = 0x3f;
const BACKSLASH = 0x5c;
const DELETE = 0x7f;
