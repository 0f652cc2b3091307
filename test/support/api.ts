// The admin API as its users call it: over TCP with a token, and over the Unix socket without.

import { request } from "node:http";
import type { RunningSallyport } from "./sallyport.ts";
import type { TokenRole } from "../../src/registry/types.ts";

export type ApiAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  // oxlint-disable-next-line no-explicit-any -- an answer's form is what tests ask about
  readonly body: any;
};

export type ApiCall = {
  readonly method?: string;
  readonly path: string;
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};

type Where = { readonly port: number } | { readonly socketPath: string };

export function callApi(
  where: Where,
  { method = "GET", path, token, body, headers }: ApiCall,
): Promise<ApiAnswer> {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const asked = request(
      {
        host: "127.0.0.1",
        ...where,
        method,
        path,
        agent: false,
        headers: {
          Host: "localhost",
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...(text === undefined
            ? {}
            : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text) }),
          ...headers,
        },
      },
      (response) => {
        let said = "";
        response.setEncoding("utf8").on("data", (piece: string) => (said += piece));
        response.on("end", () => {
          const { statusCode: status = 0, headers: answered } = response;
          const isJson = answered["content-type"]?.includes("json") === true;
          resolve({ status, headers: answered, text: said, body: isJson ? JSON.parse(said) : undefined });
        });
      },
    );
    asked.on("error", reject);
    asked.end(text);
  });
}

/** Made in the registry itself, by an administrator. */
export async function tokenFor(
  { sallyport }: RunningSallyport,
  role: TokenRole,
  name = `a-${role}`,
): Promise<string> {
  const actor = { name: "cli:test", role: "admin", from: "local" } as const;
  return (await sallyport.control.createToken(actor, { name, role })).secret;
}
