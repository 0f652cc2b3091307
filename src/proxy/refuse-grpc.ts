// The refusal in the way that the request's sender understands: to a gRPC client over HTTP/2 it is a status of its own, in a head
// that is the whole answer ("Trailers-Only"); to everybody else it is an HTTP answer.

import { first } from "../net/headers.ts";
import type { RequestHead, ResponseHead } from "../net/message.ts";
import { REASONS, type Reason, type ReasonKind } from "../net/reasons.ts";
import { type Refusal, refusal } from "./refuse.ts";

export function refusalTo(
  { version, headers }: RequestHead,
  refused: Refusal,
): { head: ResponseHead; body: Buffer } {
  const answer = refusal(refused, headers);
  // gRPC for browsers (application/grpc-web) reads the HTTP status.
  const grpc = version === "2" && /^application\/grpc(?![a-z-])/i.test(first(headers, "content-type") ?? "");
  if (!grpc) return answer;
  const { reason, auditId, shown, approval } = refused;
  const message = [
    `sallyport: ${reason}: ${REASONS[reason].text}`,
    ...(shown === undefined ? [] : [`(${shown})`]),
    ...(approval === undefined ? [] : [`approval ${approval}`]),
    ...(auditId === undefined ? [] : [`audit ${auditId}`]),
  ].join(" ");
  const fields: string[] = [];
  for (let i = 0; i + 1 < answer.head.headers.length; i += 2) {
    const name = answer.head.headers[i] ?? "";
    if (name !== "Content-Type") fields.push(name, answer.head.headers[i + 1] ?? "");
  }
  return {
    head: {
      status: 200,
      reason: "OK",
      headers: [
        "Content-Type",
        "application/grpc",
        "Grpc-Status",
        String(statusOf(reason)),
        "Grpc-Message",
        percentEncoded(message),
        ...fields,
      ],
    },
    body: Buffer.alloc(0),
  };
}

function statusOf(reason: Reason): number {
  const { kind, status } = REASONS[reason];
  if (kind === "fault" && status === 504) return DEADLINE_EXCEEDED;
  return STATUSES[kind];
}

/** Printable ASCII as it is, less the percent sign; all else as its octets in UTF-8. */
function percentEncoded(text: string): string {
  return [...Buffer.from(text, "utf8")]
    .map((octet) =>
      octet >= 0x20 && octet <= 0x7e && octet !== 0x25
        ? String.fromCharCode(octet)
        : `%${octet.toString(16).toUpperCase().padStart(2, "0")}`,
    )
    .join("");
}

const DEADLINE_EXCEEDED = 4;
/** PERMISSION_DENIED, UNAUTHENTICATED, INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE. */
const STATUSES = {
  deny: 7,
  auth: 16,
  malformed: 13,
  limit: 8,
  fault: 14,
} as const satisfies Record<ReasonKind, number>;
