// The request target (RFC 9112 §3.2) and the readings of its path that a policy must hold under.

import type { Authority } from "./authority.ts";

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
export function parseRequestTarget(_method: string, _text: string): RequestTarget | undefined {
  throw new Error("not written yet");
}

export function parsePath(_text: string): RequestPath | undefined {
  throw new Error("not written yet");
}
