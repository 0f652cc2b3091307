// Which reason a failure of HTTP/2 with an origin is told by: of one stream, or of the connection that others share.

import { constants } from "node:http2";
import { ProxyFault } from "../net/fault.ts";
import { errorCode } from "./faults.ts";

/** `begun`: the answer's head is through. */
export function streamFault(code: number, error: Error | undefined, begun: boolean): ProxyFault {
  const told = errorCode(error);
  if (told !== undefined && told !== "ERR_HTTP2_STREAM_ERROR") return connectionFault(error);
  if (MALFORMED.has(code)) return new ProxyFault("upstream-malformed", error);
  // Also Node's word for a header list beyond what we take.
  const tooLarge = code === constants.NGHTTP2_ENHANCE_YOUR_CALM && !begun;
  return new ProxyFault(tooLarge ? "upstream-head-too-large" : "upstream-reset", error);
}

/** Of an error of the whole connection: what Node or nghttp2 finds wrong is the origin's mistake. */
export function connectionFault(error: unknown): ProxyFault {
  if (error instanceof ProxyFault) return error;
  const code = errorCode(error) ?? "";
  // The origin's own complaint, as GOAWAY.
  if (code === "ERR_HTTP2_SESSION_ERROR" || !code.startsWith("ERR_HTTP2_"))
    return new ProxyFault("upstream-reset", error);
  return new ProxyFault("upstream-malformed", error);
}

const MALFORMED: ReadonlySet<number> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_STREAM_CLOSED,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
]);
