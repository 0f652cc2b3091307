// The answer that a refused or failed request gets: a reason code, an audit id, and a text that a person or an agent
// can act on. It never shows stacks, paths, inside addresses, or a rule that the operator does not want shown.

import { first, type HeaderPairs } from "../net/headers.ts";
import type { ResponseHead } from "../net/message.ts";
import { REASONS, type Reason } from "../net/reasons.ts";

export type Refusal = {
  readonly reason: Reason;
  /** `undefined` where not even a record could be written. */
  readonly auditId: string | undefined;
  /** What was asked for, as far as it was understood. */
  readonly method: string | undefined;
  readonly url: string | undefined;
  /** The rule's own text, where the operator shows it. */
  readonly shown: string | undefined;
  /** What to refer to, where somebody is asked. */
  readonly approval?: string | undefined;
  /** After how many seconds it is worth another try, where a budget is spent. */
  readonly retryAfter?: number | undefined;
};

/** Head and body; the engine adds framing. `headers` are the request's, for content negotiation. */
export function refusal(refused: Refusal, headers: HeaderPairs): { head: ResponseHead; body: Buffer } {
  const { reason, auditId, approval, retryAfter } = refused;
  const { status, kind, proxyError } = REASONS[reason];
  const json = /\bapplication\/(?:[a-z.+-]+\+)?json\b/i.test(first(headers, "accept") ?? "");
  const body = Buffer.from(json ? jsonBody(refused) : textBody(refused), "utf8");
  const fields = [
    "Content-Type",
    json ? "application/json" : "text/plain; charset=utf-8",
    "Proxy-Status",
    `sallyport; error=${proxyError}; details="${reason}"`,
    "Sallyport-Reason",
    reason,
    "Cache-Control",
    "no-store",
    "X-Content-Type-Options",
    "nosniff",
  ];
  if (auditId !== undefined) fields.push("Sallyport-Audit-Id", auditId);
  if (approval !== undefined) fields.push("Sallyport-Approval", approval);
  if (reason === "approval-required") fields.push("Retry-After", String(RETRY_SECONDS));
  if (retryAfter !== undefined) fields.push("Retry-After", String(retryAfter));
  if (status === 407) fields.push("Proxy-Authenticate", 'Basic realm="sallyport", charset="UTF-8"');
  if (kind === "limit" && status === 503) fields.push("Retry-After", "1");
  // curl, Python and Go show the status line of a refused CONNECT, and nothing else of it.
  return {
    head: { status, reason: `${PHRASES[status] ?? "Refused"} (sallyport: ${reason})`, headers: fields },
    body,
  };
}

function textBody({ reason, auditId, method, url, shown, approval }: Refusal): string {
  const { kind, text } = REASONS[reason];
  const lines = [
    kind === "fault" ? "Sallyport could not complete this request." : "Sallyport refused this request.",
  ];
  lines.push("");
  if (method !== undefined && url !== undefined) lines.push(`  request: ${clip(method)} ${clip(url)}`);
  lines.push(`  reason:  ${reason}`);
  if (shown !== undefined) lines.push(`  rule:    ${clip(shown)}`);
  if (auditId !== undefined) lines.push(`  audit:   ${auditId}`);
  if (approval !== undefined) lines.push(`  approval: ${approval}`);
  lines.push("", text);
  if (reason === "approval-required")
    lines.push(
      `Whoever runs this sandbox can approve it (approval ${approval ?? "-"}); wait for that, then send the same request again.`,
    );
  else if (reason === "approval-denied") lines.push("Retrying will not help.");
  else if (kind === "deny")
    lines.push("Whoever runs this sandbox can allow it; tell them the audit id. Retrying will not help.");
  return `${lines.join("\n")}\n`;
}

function jsonBody({ reason, auditId, method, url, shown, approval }: Refusal): string {
  const { kind, text } = REASONS[reason];
  return `${JSON.stringify({
    error: "sallyport",
    kind,
    reason,
    message: text,
    method: method === undefined ? undefined : clip(method),
    url: url === undefined ? undefined : clip(url),
    rule: shown === undefined ? undefined : clip(shown),
    auditId,
    approval,
  })}\n`;
}

/** Sandbox input in a page that a terminal may show: printable ASCII only, and not without end. */
function clip(text: string): string {
  const printable = text.replaceAll(/[^\x20-\x7e]/g, "?");
  return printable.length > MAX_SHOWN ? `${printable.slice(0, MAX_SHOWN)}...` : printable;
}

const MAX_SHOWN = 300;
/** People take minutes; an agent that asks twice a minute is early enough. */
const RETRY_SECONDS = 30;
const PHRASES: Readonly<Record<number, string>> = {
  400: "Bad Request",
  403: "Forbidden",
  407: "Proxy Authentication Required",
  408: "Request Timeout",
  417: "Expectation Failed",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};
