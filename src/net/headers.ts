// Header fields as ordered raw pairs: [name, value, name, value, ...], latin1, as received.
// What must not pass from one side to the other dies here, and nowhere else.

export type HeaderPairs = readonly string[];

/** First value of a field by its lower-case name, or undefined. */
export function first(headers: HeaderPairs, name: string): string | undefined {
  for (let at = 0; at < headers.length; at += 2) {
    if (isName(headers[at]!, name)) return headers[at + 1];
  }
  return undefined;
}

/** Every value of a field by its lower-case name. */
export function all(headers: HeaderPairs, name: string): readonly string[] {
  let values: string[] | undefined;
  for (let at = 0; at < headers.length; at += 2) {
    if (isName(headers[at]!, name)) (values ??= []).push(headers[at + 1]!);
  }
  return values ?? NONE;
}

/** Lower-case tokens of all comma lists of a field (RFC 9110 §5.6.1). */
export function tokens(headers: HeaderPairs, name: string): readonly string[] {
  let found: string[] | undefined;
  for (let at = 0; at < headers.length; at += 2) {
    if (!isName(headers[at]!, name)) continue;
    for (const element of headers[at + 1]!.split(",")) {
      const token = trimOws(element).toLowerCase();
      if (token !== "") (found ??= []).push(token);
    }
  }
  return found ?? NONE;
}

/**
 * The end-to-end fields, in order and case: hop-by-hop fields (RFC 9110 §7.6.1), those that `Connection` names, proxy credentials
 * and challenges, framing (Content-Length, Transfer-Encoding, Trailer, TE), a second request target (`X-Original-URL`) and
 * look-alikes of all these (`Transfer_Encoding`) are gone.
 * `Connection` cannot remove Host, Content-Length, Cache-Control, Authorization and their kind. They are added to `kept`, less those
 * that the caller drops.
 */
export function endToEnd(
  headers: HeaderPairs,
  kept: string[] = [],
  drops?: (name: string, value: string) => boolean,
): string[] {
  const options = tokens(headers, "connection");
  const named = options.length === 0 ? NONE : options.filter((option) => !PROTECTED.has(option));
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!;
    if (looksLike(name, NOT_END_TO_END) && !isName(name, "host")) continue;
    if (named.length > 0 && named.includes(name.toLowerCase())) continue;
    const value = headers[at + 1]!;
    if (drops?.(name, value) === true) continue;
    kept.push(name, value);
  }
  return kept;
}

/** Trailer fields that may be relayed (RFC 9110 §6.5.1): no framing, routing, authentication, or content-handling fields. */
export function safeTrailers(trailers: HeaderPairs): string[] {
  const kept: string[] = [];
  for (let at = 0; at < trailers.length; at += 2) {
    const name = trailers[at]!;
    if (looksLike(name, NOT_IN_TRAILERS)) continue;
    kept.push(name, trailers[at + 1]!);
  }
  return kept;
}

/** A field asks the origin for another method than the request line says. */
export function isMethodOverride(headers: HeaderPairs): boolean {
  for (let at = 0; at < headers.length; at += 2) {
    if (looksLike(headers[at]!, METHOD_OVERRIDE)) return true;
  }
  return false;
}

/** Space and tab alone (RFC 9110 §5.6.3); a token behind other white space is not that token. */
function trimOws(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isOws(text.charCodeAt(start))) start++;
  while (end > start && isOws(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isOws(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** `name` in whatever case is `lower`. */
export function isName(name: string, lower: string): boolean {
  return name.length === lower.length && beginsWith(name, lower);
}

/** `name` in whatever case begins with `lower`. */
export function beginsWith(name: string, lower: string): boolean {
  if (name.length < lower.length) return false;
  for (let at = 0; at < lower.length; at++) {
    if (toLower(name.charCodeAt(at)) !== lower.charCodeAt(at)) return false;
  }
  return true;
}

/**
 * The name is one of these once case and separators are set aside. Servers that hand fields on as variables (CGI, WSGI,
 * some proxies) take `Transfer_Encoding` or `Transfer.Encoding` for the true name.
 */
function looksLike(name: string, bare: Names): boolean {
  let start = 0;
  while (start < name.length && !isAlphanumeric(name.charCodeAt(start))) start++;
  const candidates = bare[toLower(name.charCodeAt(start))];
  if (candidates === undefined) return false;
  for (const candidate of candidates) {
    if (equalsBare(name, start, candidate)) return true;
  }
  return false;
}

function equalsBare(name: string, start: number, bare: string): boolean {
  let matched = 0;
  for (let at = start; at < name.length; at++) {
    const code = name.charCodeAt(at);
    if (!isAlphanumeric(code)) continue;
    if (toLower(code) !== bare.charCodeAt(matched)) return false;
    matched++;
  }
  return matched === bare.length;
}

function isAlphanumeric(code: number): boolean {
  const lower = toLower(code);
  return (lower >= 0x61 && lower <= 0x7a) || (code >= 0x30 && code <= 0x39);
}

function toLower(code: number): number {
  return code >= 0x41 && code <= 0x5a ? code | 0x20 : code;
}

/** Names without separators, by the code of their first letter: most fields are told apart at once. */
type Names = readonly (readonly string[] | undefined)[];

function names(list: string): Names {
  const byLetter: string[][] = [];
  for (const name of words(list)) (byLetter[name.charCodeAt(0)] ??= []).push(name.replaceAll("-", ""));
  // Without holes, so that looking one up is a plain load.
  return Array.from({ length: 128 }, (_, code) => byLetter[code]);
}

function words(list: string): string[] {
  return list.trim().split(/\s+/);
}

const NONE: readonly string[] = [];

const HOP_BY_HOP = `
  connection keep-alive proxy-connection proxy-authorization proxy-authenticate proxy-authentication-info
  te trailer transfer-encoding content-length upgrade http2-settings
`;

/** What says where a request goes a second time: a host, or (to IIS, Symfony and their kind) a path in the request line's stead. */
const ROUTING = "host x-original-url x-rewrite-url";

const NOT_END_TO_END = names(`${HOP_BY_HOP} ${ROUTING}`);

const OVERRIDES = "x-http-method-override x-http-method x-method-override";
const METHOD_OVERRIDE = names(OVERRIDES);

const NOT_IN_TRAILERS = names(`
  ${HOP_BY_HOP} ${ROUTING} ${OVERRIDES}
  authorization www-authenticate authentication-info cookie set-cookie
  content-type content-encoding content-range content-location content-language content-disposition
  cache-control expect max-forwards pragma range accept-ranges
  if-match if-none-match if-modified-since if-unmodified-since if-range
  age date expires location retry-after vary warning
  via forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-real-ip alt-svc
  strict-transport-security content-security-policy clear-site-data
  proxy-status sallyport-reason sallyport-audit-id
`);

/** Meant for every recipient, so no sender may have them taken off on the way (RFC 9110 §7.6.1). */
const PROTECTED: ReadonlySet<string> = new Set(
  words(`
    host authorization www-authenticate cookie set-cookie via forwarded expect range
    cache-control pragma age date expires vary etag last-modified location
    content-length content-type content-encoding content-range content-location
    if-match if-none-match if-modified-since if-unmodified-since if-range
  `),
);
