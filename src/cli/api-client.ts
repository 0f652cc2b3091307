// Asks a running proxy's admin API: over the Unix socket of the proxy that the operator's file describes, or at SALLYPORT_ADMIN with
// the token in SALLYPORT_TOKEN.

import * as http from "node:http";
import * as https from "node:https";
import { userInfo } from "node:os";
import type { Command } from "commander";

import { visible } from "./audit-line.ts";
import { type Context, type GlobalOptions, globalOptions } from "./context.ts";
import { CliError, EXIT } from "./errors.ts";

export type Method = "GET" | "POST" | "PATCH" | "DELETE";

export type ApiClient = {
  /** What was answered; failures are told in the API's own words. */
  readonly call: <Answer = undefined>(method: Method, path: string, body?: object) => Promise<Answer>;
  /** All items of a list, page by page. */
  readonly all: <Item>(path: string, query?: Query) => Promise<Item[]>;
  /** Each `changed` from now on, until the proxy ends. */
  readonly changes: () => AsyncIterable<void>;
};

export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

export async function apiClient(context: Context, command: Command): Promise<ApiClient> {
  const target = await targetOf(context, globalOptions(command));
  const send = (method: Method, path: string, body?: object): Promise<http.IncomingMessage> =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers = {
        ...target.headers,
        ...(text !== undefined && {
          "Content-Type": "application/json",
          "Content-Length": Buffer.byteLength(text),
        }),
      };
      const asked = target.request({ ...target.at, method, path, headers, agent: false }, resolve);
      asked.on("error", (error: NodeJS.ErrnoException) => reject(unreached(target, error)));
      asked.end(text);
    });
  const call = async <Answer>(method: Method, path: string, body?: object): Promise<Answer> => {
    const response = await send(method, path, body);
    const text = await textOf(response);
    const { statusCode = 0 } = response;
    if (statusCode >= 300) throw refused(target, statusCode, text);
    return (text === "" ? undefined : JSON.parse(text)) as Answer;
  };
  return {
    call,
    async all<Item>(path: string, query: Query = {}) {
      const items: Item[] = [];
      for (let after: string | null = null; ;) {
        const asked = queryOf({ ...query, limit: "1000", after: after ?? undefined });
        const page: { items: Item[]; next: string | null } = await call("GET", `${path}?${asked}`);
        items.push(...page.items);
        if (page.next === null) return items;
        after = page.next;
      }
    },
    async *changes() {
      const response = await send("GET", "/v1/events");
      if (response.statusCode !== 200)
        throw refused(target, response.statusCode ?? 0, await textOf(response));
      let rest = "";
      for await (const piece of response.setEncoding("utf8") as AsyncIterable<string>) {
        const events = `${rest}${piece}`.split("\n\n");
        rest = events.pop() ?? "";
        if (events.some((event) => event.startsWith("event: changed"))) yield;
      }
    },
  };
}

export function queryOf(query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === undefined ? [] : [value].flat().map((one): [string, string] => [name, one]),
  );
  return new URLSearchParams(pairs).toString();
}

type Target = {
  /** For messages. */
  readonly name: string;
  readonly at: http.RequestOptions;
  readonly headers: http.OutgoingHttpHeaders;
  readonly request: typeof http.request;
};

async function targetOf(context: Context, options: GlobalOptions): Promise<Target> {
  const { SALLYPORT_ADMIN: named = "", SALLYPORT_TOKEN: token = "" } = context.env;
  const headers = {
    Host: "localhost",
    "Sallyport-User": userInfo().username,
    ...(token !== "" && { Authorization: `Bearer ${token}` }),
  };
  if (named !== "") {
    const url = URL.parse(named);
    if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== "/" || url.username !== "")
      throw new CliError(
        `SALLYPORT_ADMIN is a URL such as http://127.0.0.1:9128, and not ${named}.`,
        EXIT.usage,
      );
    if (token === "")
      throw new CliError(
        "SALLYPORT_ADMIN names a proxy, and SALLYPORT_TOKEN has no token for it.",
        EXIT.usage,
      );
    const { request } = url.protocol === "https:" ? https : http;
    const at = { host: url.hostname.replace(/^\[|\]$/g, ""), port: url.port };
    return { name: url.origin, at, headers: { ...headers, Host: url.host }, request };
  }
  const { loadValid } = await import("./load.ts");
  const { admin } = (await loadValid(context, options)).config;
  const socketPath = admin === false ? undefined : admin.socket;
  if (socketPath === undefined)
    throw new CliError(
      "the configuration has no admin socket. Say where the proxy's API is with SALLYPORT_ADMIN and SALLYPORT_TOKEN.",
    );
  return { name: socketPath, at: { socketPath }, headers, request: http.request };
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of response.setEncoding("utf8") as AsyncIterable<string>) text += piece;
  return text;
}

function unreached({ name }: Target, error: NodeJS.ErrnoException): CliError {
  const why =
    error.code === "EACCES"
      ? "only whoever runs the proxy may open it. Use `sudo -u`, or SALLYPORT_ADMIN and SALLYPORT_TOKEN"
      : error.code === "ENOENT" || error.code === "ECONNREFUSED"
        ? "nothing listens there. Is `sallyport run` running with this file? Of another proxy say SALLYPORT_ADMIN and SALLYPORT_TOKEN"
        : (error.code ?? error.message);
  return new CliError(`the proxy cannot be asked at ${name}: ${why}.`, EXIT.failure, error);
}

function refused({ name }: Target, status: number, text: string): CliError {
  const detail = detailOf(text) ?? `it answered ${status}: is that a Sallyport's admin address?`;
  return new CliError(`${name}: ${visible(detail)}`);
}

function detailOf(text: string): string | undefined {
  try {
    const { detail } = JSON.parse(text) as { detail?: unknown };
    return typeof detail === "string" ? detail : undefined;
  } catch {
    return undefined;
  }
}
