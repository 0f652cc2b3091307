// The API: finds the route, asks who it is and whether they may, reads what is said, does it, and answers. Absence of a role denies.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { ApiOutcome } from "../telemetry/control-metrics.ts";
import type { Actor } from "../registry/types.ts";
import { type Answer, answer } from "./answer.ts";
import { parsed, readJson, readQuery } from "./body.ts";
import type { Callers } from "./caller.ts";
import { AUDIT_ROUTES } from "./audit-routes.ts";
import { EVENT_ROUTES } from "./events.ts";
import { EXCEPTION_ROUTES } from "./exception-routes.ts";
import { openapi } from "./openapi.ts";
import { Problem, problemAnswer, problemOf } from "./problem.ts";
import { type ApiParts, EVERYBODY, match, type Matched, type Route, route } from "./route.ts";
import { SANDBOX_ROUTES } from "./sandbox-routes.ts";
import { TOKEN_ROUTES } from "./token-routes.ts";

export type ApiOptions = ApiParts & {
  readonly callers: Callers;
  readonly version: string;
  readonly on: {
    readonly request: (outcome: ApiOutcome) => void;
    /** Somebody who is known asked for what is not theirs. */
    readonly forbidden: (actor: Actor, what: string) => void;
    /** Failures that the asker is not told of. */
    readonly fault: (error: unknown) => void;
  };
};

export type Api = (request: IncomingMessage, response: ServerResponse, local: boolean) => Promise<void>;

export const ROUTES: readonly Route[] = [
  ...SANDBOX_ROUTES,
  ...EXCEPTION_ROUTES,
  ...TOKEN_ROUTES,
  ...AUDIT_ROUTES,
  ...EVENT_ROUTES,
];

export function createApi(options: ApiOptions): Api {
  const { on } = options;
  const routes = [...ROUTES, documentRoute(options.version)];
  return async (request, response, local) => {
    try {
      const given = await respond(options, routes, { request, response, local });
      if (given !== undefined) answer(request, response, given);
      on.request("done");
    } catch (error) {
      const problem =
        problemOf(error) ?? new Problem("internal", "what went wrong stands in the proxy's log");
      if (problem.kind === "internal") on.fault(error);
      on.request(outcomeOf(problem));
      if (response.headersSent) response.destroy();
      else answer(request, response, problemAnswer(problem));
    }
  };
}

type Asked = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly local: boolean;
};

async function respond(
  options: ApiOptions,
  routes: readonly Route[],
  { request, response, local }: Asked,
): Promise<Answer | undefined> {
  const { control, kit } = options;
  const actor = options.callers(request, local);
  const { url = "" } = request;
  const { route: found, params } = routed(routes, request.method ?? "", url.split("?", 1)[0] ?? "");
  if (!found.roles.some((role) => role === actor.role)) {
    const what = `${found.method} ${found.path}`;
    options.on.forbidden(actor, what);
    throw new Problem("forbidden", `${what} is for ${found.roles.join(", ")}; you are ${actor.role}`);
  }
  const query = parsed(found.query, readQuery(url), "query");
  const body = parsed(found.body, await readJson(request), "body");
  if (found.stream !== undefined) {
    found.stream({ control, kit, actor }, response);
    return undefined;
  }
  const result: unknown = await found.run({ control, kit, actor, params, query, body });
  const { status } = found.success;
  return status === 204
    ? { status, text: "" }
    : { status, text: `${JSON.stringify(result)}\n`, type: "application/json" };
}

function routed(routes: readonly Route[], method: string, path: string): Matched {
  const there = match(routes, path);
  if (there.length === 0)
    throw new Problem("not-found", "there is nothing here: GET /v1/openapi.json says what there is");
  // HEAD is GET, less what it says.
  const found = there.find((one) => one.route.method === (method === "HEAD" ? "GET" : method));
  if (found !== undefined) return found;
  const allowed = there.map((one) => one.route.method).join(", ");
  throw new Problem("method-not-allowed", `there are ${allowed}`, { headers: { Allow: allowed } });
}

function documentRoute(version: string): Route {
  let document: ReturnType<typeof openapi> | undefined;
  return route({
    method: "GET",
    path: "/v1/openapi.json",
    roles: EVERYBODY,
    summary: "This document",
    success: { status: 200, is: "OpenAPI 3.1." },
    run: () => (document ??= openapi(ROUTES, version)),
  });
}

function outcomeOf({ kind }: Problem): ApiOutcome {
  if (kind === "unauthenticated" || kind === "slow-down") return "unauthenticated";
  if (kind === "forbidden" || kind === "above-requirements") return "forbidden";
  return kind === "internal" || kind === "unavailable" ? "failed" : "refused";
}
