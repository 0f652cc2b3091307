// The admin listener: the API, metrics, liveness and readiness, for the operator's machines only. It must never answer a page of
// another site in somebody's browser, tell a stack or a secret, or be brought down by whoever can connect to it.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Answer, answer } from "./answer.ts";
import type { Api } from "./api.ts";
import type { Callers } from "./caller.ts";
import { guard, hostGuard } from "./guard.ts";
import { Problem, problemAnswer, problemOf } from "./problem.ts";

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
  readonly api: Api;
  readonly callers: Callers;
  /** What is answered without a token. */
  readonly open: readonly ("health" | "metrics")[];
  /** Binds the server of this machine's administrator; absent: there is none. */
  readonly socket?: ((server: Server) => Promise<void>) | undefined;
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
  const pages = createPages(options);
  const server = createListener(options, { pages, local: false });
  await listening(server, options.listen);
  server.on("error", options.onFault);
  const { address, port } = server.address() as AddressInfo;
  const local = options.socket === undefined ? undefined : createListener(options, { pages, local: true });
  try {
    if (local !== undefined) await options.socket?.(local);
  } catch (error) {
    await close(server);
    throw error;
  }
  local?.on("error", options.onFault);
  return {
    address: { host: address, port },
    close: async () => void (await Promise.all([server, ...(local === undefined ? [] : [local])].map(close))),
  };
}

/** `local`: its connections come over the Unix socket. */
function createListener(
  options: AdminOptions,
  { pages, local }: { readonly pages: Pages; readonly local: boolean },
): Server {
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
    const refusal = guard(request, mayCall);
    if (refusal !== undefined) return answer(request, response, refusal);
    if (path.startsWith("/v1/")) return options.api(request, response, local);
    const page = pages.get(path);
    answer(
      request,
      response,
      page === undefined ? { status: 404, text: NOT_FOUND } : await shown(page, request),
    );
  }

  async function shown({ open, render }: Page, request: IncomingMessage): Promise<Answer> {
    if (request.method !== "GET" && request.method !== "HEAD")
      return { status: 405, text: "Only GET and HEAD.\n", headers: { Allow: "GET, HEAD" } };
    const length = request.headers["content-length"];
    if (request.headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0"))
      return { status: 413, text: "No bodies.\n" };
    try {
      if (!open) mustSee(options.callers(request, local));
      return await render();
    } catch (error) {
      const problem = problemOf(error);
      if (problem === undefined) throw error;
      return problemAnswer(problem);
    }
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
  return server;
}

/** A runtime's token is for its sandboxes alone. */
function mustSee({ role }: ReturnType<Callers>): void {
  if (role === "runtime") throw new Problem("forbidden", "this is for viewers, and you are runtime");
}

type Page = { readonly open: boolean; readonly render: () => Answer | Promise<Answer> };

type Pages = ReadonlyMap<string, Page>;

function createPages({ metrics, readiness, open }: AdminOptions): Pages {
  // Scrapes that come together share one rendering.
  let rendering: Promise<string> | undefined;
  const exposition = () =>
    (rendering ??= metrics.exposition().finally(() => {
      rendering = undefined;
    }));
  const isOpen = { metrics: open.includes("metrics"), health: open.includes("health") };
  const scraped = async () => ({ status: 200, text: await exposition(), type: metrics.contentType });
  return new Map<string, Page>([
    ["/metrics", { open: isOpen.metrics, render: scraped }],
    ["/healthz", { open: isOpen.health, render: () => ({ status: 200, text: "ok\n" }) }],
    ["/readyz", { open: isOpen.health, render: () => readyAnswer(readiness()) }],
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
  /v1/      the API, for holders of a token: GET /v1/openapi.json
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
