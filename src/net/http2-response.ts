// HTTP/2 heads as lists of raw pairs, after HPACK: requests as they are written to an origin, answers held to the rules that
// an HTTP/1 head is held to. Nothing here repairs.

import { ProxyFault } from "./fault.ts";
import { first, type HeaderPairs } from "./headers.ts";
import { CHUNKED, decimal, type HeadLimits, NONE } from "./http1-head.ts";
import { checkFields, octetsOf } from "./http2-fields.ts";
import type { BodyLength, ResponseHead } from "./message.ts";

export type Http2Response = {
  readonly head: ResponseHead;
  /** What the fields declare, whether or not a body follows (HEAD, 304). */
  readonly declared: BodyLength;
  /** The body that follows. */
  readonly length: BodyLength;
};

export type Http2Request = {
  readonly method: string;
  readonly scheme: "http" | "https";
  readonly target: string;
  /** End-to-end fields and one Host. */
  readonly headers: HeaderPairs;
  readonly length: BodyLength;
  /** The sandbox takes trailers, and said so (`TE: trailers`; gRPC asks for it). */
  readonly trailers: boolean;
};

/** Pseudo-fields and fields in order, names in lower case; Host has become `:authority` (RFC 9113 §8.3.1). */
export function requestPairs({ method, scheme, target, headers, length, trailers }: Http2Request): string[] {
  const fields: string[] = [];
  let authority = "";
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!.toLowerCase();
    if (name === "host") authority = headers[at + 1]!;
    else fields.push(name, headers[at + 1]!);
  }
  if (length.kind === "known") fields.push("content-length", String(length.octets));
  // A method that usually carries a body says that it has none (RFC 9110 §8.6).
  else if (length.kind === "none" && (method === "POST" || method === "PUT" || method === "PATCH"))
    fields.push("content-length", "0");
  if (trailers) fields.push("te", "trailers");
  return [":method", method, ":scheme", scheme, ":authority", authority, ":path", target, ...fields];
}

/** `ended`: nothing follows the head. Throws where the answer can't be read in one way. */
export function readResponse(
  pairs: HeaderPairs,
  limits: HeadLimits,
  { method, ended }: { readonly method: string; readonly ended: boolean },
): Http2Response {
  const { status, headers } = splitStatus(pairs);
  checkAnswerFields(headers, limits);
  const stated = contentLength(headers);
  const bodiless = method === "HEAD" || status === 204 || status === 304 || status < 200;
  // What ends with its head and does not say so is empty all the same.
  if (ended && !bodiless && stated !== undefined && stated !== 0) throw new ProxyFault("upstream-malformed");
  const octets = stated ?? (ended && !bodiless ? 0 : undefined);
  const declared: BodyLength = octets !== undefined ? { kind: "known", octets } : bodiless ? NONE : CHUNKED;
  return { head: { status, reason: "", headers }, declared, length: bodiless ? NONE : declared };
}

/** Fields of a head, or trailers: no pseudo-fields, nothing of the connection, within bounds. */
export function checkAnswerFields(fields: HeaderPairs, limits: HeadLimits): void {
  if (fields.length > limits.headFields * 2 || octetsOf(fields) > limits.headOctets)
    throw new ProxyFault("upstream-head-too-large");
  checkFields(fields, 0, "upstream-malformed");
  // What a request says.
  if (first(fields, "te") !== undefined) throw new ProxyFault("upstream-malformed");
}

/** Exactly one `:status`, and it comes first. */
function splitStatus(pairs: HeaderPairs): { status: number; headers: HeaderPairs } {
  const text = pairs[1] ?? "";
  if (pairs[0] !== ":status" || !/^[1-5][0-9][0-9]$/.test(text) || text === "101")
    throw new ProxyFault("upstream-malformed");
  return { status: Number(text), headers: pairs.slice(2) };
}

function contentLength(headers: HeaderPairs): number | undefined {
  let stated: number | undefined;
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at] !== "content-length") continue;
    const octets = decimal(headers[at + 1]!);
    if (octets === undefined || stated !== undefined) throw new ProxyFault("upstream-malformed");
    stated = octets;
  }
  return stated;
}
