// The OpenAPI document (3.1), made of the routes and their schemas.

import * as z from "zod";
import { PROBLEMS } from "./problem.ts";
import type { Route } from "./route.ts";
import { PROBLEM } from "./schemas.ts";

type Json = Readonly<Record<string, unknown>>;

export function openapi(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route);
  return {
    openapi: "3.1.0",
    info: {
      title: "Sallyport",
      version,
      description:
        "What can be done to sandboxes while the proxy runs. Each action stands in the audit chain before it takes effect.",
    },
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: {
          type: "http",
          scheme: "bearer",
          description: "An API token, `spt_…`; none at the Unix socket.",
        },
      },
      responses: Object.fromEntries(
        Object.entries(PROBLEMS).map(([kind, { title }]) => [
          kind,
          {
            description: title,
            content: { "application/problem+json": { schema: schemaOf(PROBLEM, "output") } },
          },
        ]),
      ),
    },
  };
}

function operation({ method, path, roles, summary, query, body, success, stream }: Route): Json {
  const { status, is, schema } = success;
  const type = stream === undefined ? "application/json" : "text/event-stream";
  const content = schema === undefined ? {} : { content: { [type]: { schema: schemaOf(schema, "output") } } };
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^a-z]+([a-z]?)/g, (_all, next: string) => next.toUpperCase())}`,
    summary,
    description: `Roles: ${roles.join(", ")}.`,
    "x-roles": roles,
    parameters: [...pathParameters(path), ...queryParameters(query)],
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { "application/json": { schema: schemaOf(body, "input") } },
          },
        }),
    responses: {
      [status]: { description: is, ...content },
      default: { $ref: "#/components/responses/invalid" },
    },
  };
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
}

function queryParameters(query: z.ZodType | undefined): Json[] {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = schemaOf(query, "input") as {
    properties?: Record<string, Json>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: "query",
    required: required.includes(name),
    schema,
  }));
}

/** Each stands for itself: what has an id is written out where it is used. */
function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
    io,
    unrepresentable: "any",
    metadata: EMPTY,
  });
  return rest;
}

/** Without ids, nothing is moved into definitions. */
const EMPTY = z.registry<{ id?: string }>();
