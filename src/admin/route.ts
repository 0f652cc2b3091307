// What a route of the API is: its place, who may ask, what is read from the request, and what is answered.

import type { ServerResponse } from "node:http";
import type * as z from "zod";
import type { Actor, Control, TokenRole } from "../registry/types.ts";
import type { SandboxKit } from "./kit.ts";

export type ApiParts = {
  readonly control: Control;
  readonly kit: SandboxKit;
};

export type Call<Query, Body> = ApiParts & {
  readonly actor: Actor;
  /** Of the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
};

type Described<Query, Body> = {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** Parts in braces stand for one segment each. */
  readonly path: string;
  readonly roles: readonly TokenRole[];
  readonly summary: string;
  readonly query?: z.ZodType<Query>;
  readonly body?: z.ZodType<Body>;
  readonly success: {
    readonly status: 200 | 201 | 204;
    readonly is: string;
    /** Of the body; absent: there is none, or it is not JSON. */
    readonly schema?: z.ZodType;
  };
  readonly run: (call: Call<Query, Body>) => unknown;
  /** In place of an answer that ends: the head is written, and the body goes on until the asker leaves. */
  readonly stream?: (parts: ApiParts & { readonly actor: Actor }, response: ServerResponse) => void;
};

export type Route = Described<unknown, unknown>;

/** One place to lose the types of query and body, which `schema.parse` has then made true. */
export function route<Query = undefined, Body = undefined>(described: Described<Query, Body>): Route {
  return described as unknown as Route;
}

/** Each of these may do what those before it may; a runtime only what is said of it. */
export const VIEWERS = ["viewer", "approver", "operator", "admin"] as const;
export const APPROVERS = ["approver", "operator", "admin"] as const;
export const OPERATORS = ["operator", "admin"] as const;
export const ADMINS = ["admin"] as const;
export const EVERYBODY = [...VIEWERS, "runtime"] as const;
export const RUNTIMES = [...OPERATORS, "runtime"] as const;

export type Matched = { readonly route: Route; readonly params: Readonly<Record<string, string>> };

/** The routes of a path, and what it says; empty: there are none. */
export function match(routes: readonly Route[], path: string): Matched[] {
  const segments = path.split("/");
  return routes.flatMap((route) => {
    const params = paramsOf(route.path.split("/"), segments);
    return params === undefined ? [] : [{ route, params }];
  });
}

function paramsOf(
  template: readonly string[],
  segments: readonly string[],
): Record<string, string> | undefined {
  if (template.length !== segments.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, part] of template.entries()) {
    const segment = segments[at] ?? "";
    if (!part.startsWith("{")) {
      if (part !== segment) return undefined;
      continue;
    }
    const value = decoded(segment);
    if (value === undefined || value === "") return undefined;
    params[part.slice(1, -1)] = value;
  }
  return params;
}

function decoded(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment);
  } catch {
    return undefined;
  }
}
