// The admin listener: metrics, liveness and readiness, for the operator's machines only. It must never answer a page of another
// site in somebody's browser, tell a stack or a secret, or be brought down by whoever can connect to it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { guard, hostGuard } from "./guard.ts";

export type ReloadState =
  | { readonly ok: true; readonly at: number }
  /** `errors`: one line each, as `file:line:column message`; the configuration before stays in force. */
  | { readonly ok: false; readonly at: number; readonly errors: readonly string[] };

export type Readiness = {
  readonly draining: boolean;
  readonly auditHealthy: boolean;
  /** What is known keeps serving while it cannot be reached; nothing can be changed. */
  readonly storeHealthy: boolean;
  /** Of the policy snapshot in force; `undefined` while there is none. */
  readonly generation: number | undefined;
  readonly lastReload: ReloadState | undefined;
  /** Where several processes serve: how many there should be, and how many forward under the generation in force. */
  readonly workers?: { readonly configured: number; readonly ready: number };
};

export type AdminOptions = {
  readonly listen: { readonly host: string; readonly port: number };
  /** Names by which the listener may be called beside loopback's and its own addresses; `sallyport`, `metrics.corp.example`. */
  readonly hosts?: readonly string[];
  readonly metrics: { readonly contentType: string; exposition(): Promise<string> };
  readonly readiness: () => Readiness;
  /** Told of failures that the asker is not told of. */
  readonly onFault: (error: unknown) => void;
};

export type Admin = {
  /** Where it listens, for the guard of the proxy's own addresses (invariant 8). */
  readonly address: { readonly host: string; readonly port: number };
  /** Answers what was asked, for at most a second, and ends. */
  close(): Promise<void>;
};

export async function startAdmin(options: AdminOptions): Promise<Admin> {
  const routes = createRoutes(options);
  const mayCall = hostGuard(options.listen.host, options.hosts ?? []);
  const server = createServer(HTTP_LIMITS, (request, response) => {
    handle(request, response).catch((error: unknown) => {
      options.onFault(error);
      if (response.headersSent) response.destroy();
      else answer(request, response, { status: 500, text: "Internal error; the proxy's log says more.\n" });
    });
  });

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = /^(\/[^?#]*)/.exec(request.url ?? "")?.[1] ?? "";
    const route = routes.get(path);
    const refusal = guard(request, mayCall);
    if (refusal !== undefined) return answer(request, response, refusal);
    if (route === undefined) return answer(request, response, { status: 404, text: NOT_FOUND });
    answer(request, response, await route());
  }

  server.maxConnections = MAX_CONNECTIONS;
  server.maxRequestsPerSocket = 1_000;
  // Also ends connections whose answer nobody reads.
  server.setTimeout(IDLE_MS, (socket) => socket.destroy());
  server.on("clientError", (_error, socket) => {
    if (socket.writable)
      socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    else socket.destroy();
  });
  server.on("upgrade", (_request, socket) => socket.destroy());
  server.on("connect", (_request, socket) => socket.destroy());
  await listening(server, options.listen);
  server.on("error", options.onFault);
  const { address, port } = server.address() as AddressInfo;
  return { address: { host: address, port }, close: () => close(server) };
}

type Answer = {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
};
type Route = () => Answer | Promise<Answer>;

function createRoutes({ metrics, readiness }: AdminOptions): ReadonlyMap<string, Route> {
  // Scrapes that come together share one rendering.
  let rendering: Promise<string> | undefined;
  const exposition = () =>
    (rendering ??= metrics.exposition().finally(() => {
      rendering = undefined;
    }));
  return new Map<string, Route>([
    ["/metrics", async () => ({ status: 200, text: await exposition(), type: metrics.contentType })],
    ["/healthz", () => ({ status: 200, text: "ok\n" })],
    ["/readyz", () => readyAnswer(readiness())],
  ]);
}

/** A refused reload leaves a valid configuration in force, so it is told and does not take the proxy out of service. */
function readyAnswer(readiness: Readiness): Answer {
  const { draining, auditHealthy, storeHealthy, generation, lastReload, workers } = readiness;
  const manned = workers === undefined || workers.ready >= workers.configured;
  const ready = !draining && auditHealthy && generation !== undefined && manned;
  const detail = {
    ready,
    draining,
    audit: auditHealthy ? "healthy" : "failing",
    store: storeHealthy ? "healthy" : "failing",
    generation: generation ?? null,
    ...(workers === undefined ? {} : { workers }),
    last_reload:
      lastReload === undefined
        ? null
        : {
            ok: lastReload.ok,
            at: new Date(lastReload.at).toISOString(),
            ...(lastReload.ok
              ? {}
              : { errors: lastReload.errors.slice(0, MAX_ERRORS), error_count: lastReload.errors.length }),
          },
  };
  return {
    status: ready ? 200 : 503,
    text: `${JSON.stringify(detail, undefined, 2)}\n`,
    type: "application/json",
  };
}

function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { status, text, type, headers }: Answer,
): void {
  const body = Buffer.from(text);
  response.writeHead(status, {
    "Content-Type": type ?? "text/plain; charset=utf-8",
    "Content-Length": body.length,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    ...headers,
    // Whoever is refused, or sends what is not read, starts anew.
    ...(status >= 400 && status !== 404 && status !== 503 ? { Connection: "close" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}

function listening(server: Server, { host, port }: AdminOptions["listen"]): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const overdue = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    server.close(() => {
      clearTimeout(overdue);
      resolve();
    });
    server.closeIdleConnections();
  });
}

const NOT_FOUND = `Not found. There are:
  /metrics  Prometheus metrics
  /healthz  200 while the process runs
  /readyz   200 while it forwards requests, otherwise 503, with the reason
`;

const MAX_ERRORS = 20;
const MAX_CONNECTIONS = 64;
const IDLE_MS = 10_000;
const CLOSE_MS = 1_000;
const HTTP_LIMITS = {
  maxHeaderSize: 8_192,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
  insecureHTTPParser: false,
  requireHostHeader: true,
  rejectNonStandardBodyWrites: true,
};
