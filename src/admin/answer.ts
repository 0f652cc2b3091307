// How the admin listener answers: whole, never cached, never framed, nothing of it for another site's page.

import type { IncomingMessage, ServerResponse } from "node:http";

export type Answer = {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export function answer(request: IncomingMessage, response: ServerResponse, given: Answer): void {
  const { status, text, type = "text/plain; charset=utf-8", headers } = given;
  const body = Buffer.from(text);
  response.writeHead(status, {
    ...(status === 204 ? {} : { "Content-Type": type, "Content-Length": body.length }),
    ...GUARDED,
    ...headers,
    // Whoever is refused, or sends what is not read, starts anew.
    ...(STARTS_ANEW.has(status) || !request.complete ? { Connection: "close" } : {}),
  });
  response.end(request.method === "HEAD" || status === 204 ? undefined : body);
}

export const GUARDED = {
  "Cache-Control": "no-store",
  "X-Content-Type-Options": "nosniff",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
} as const;

const STARTS_ANEW = new Set([400, 401, 403, 405, 413, 415, 421, 429, 500]);
