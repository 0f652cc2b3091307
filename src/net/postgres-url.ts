// The address of a PostgreSQL database, read in one way. A server across a network is verified by its certificate and its name,
// unless the URL says in so many words that it is not; what is wrong is told without repeating any of it, as it holds a password.

import { type Address, classify } from "./address.ts";
import { parsePort } from "./authority.ts";
import { type Host, isAddressLiteral, parseHostUnicode } from "./host.ts";
import { Secret } from "./secret.ts";

export type PostgresUrl = {
  /** `directory`: of the server's Unix socket. */
  readonly server: { readonly host: Host } | { readonly directory: string };
  readonly port: number;
  readonly user: string;
  readonly password: Secret | undefined;
  readonly database: string;
  /** `undefined`: in the clear. */
  readonly tls: PostgresTls | undefined;
  /** In the clear, and across a network. */
  readonly exposed: boolean;
};

export type PostgresTls = {
  /** In PEM; `undefined`: the system's trust anchors and the bundled ones. */
  readonly anchors: string | undefined;
  /** Files in PEM, to prove who asks. */
  readonly certificate: { readonly chain: string; readonly key: string } | undefined;
};

export const isPostgresUrl = (text: string): boolean => /^postgres(?:ql)?:/.test(text);

/** `postgres://user:password@host:5432/database?sslmode=…`, or what is wrong with it. */
export function parsePostgresUrl(text: string): PostgresUrl | { readonly problem: string } {
  const [, userinfo, name = "", digits, path = "", query = ""] = FORM.exec(text) ?? [];
  if (userinfo === undefined) return { problem: EXPECTED };
  const [user, password] = parseUserinfo(userinfo);
  const database = decode(path);
  if (user === undefined || user === "" || password === null || database === undefined || database === "")
    return { problem: EXPECTED };
  const parameters = parseParameters(query);
  if ("problem" in parameters) return parameters;
  const server = parseServer(name, parameters.host);
  const port = digits === undefined ? PORT : parsePort(digits, 0);
  if (server === undefined || port === undefined) return { problem: EXPECTED };
  const local = "directory" in server || isLoopback(server.host);
  const tls = parseTls(parameters, local);
  if (tls !== undefined && "problem" in tls) return tls;
  if (tls !== undefined && "directory" in server) return { problem: "a Unix socket has no TLS" };
  return { server, port, user, password, database, tls, exposed: tls === undefined && !local };
}

type Parameters = { readonly [name in (typeof PARAMETERS)[number]]?: string };

function parseParameters(query: string): Parameters | { problem: string } {
  const found: Record<string, string> = {};
  for (const pair of query === "" ? [] : query.split("&")) {
    const equals = pair.indexOf("=");
    const name = pair.slice(0, Math.max(equals, 0));
    const value = decode(pair.slice(equals + 1));
    if (!(PARAMETERS as readonly string[]).includes(name) || name in found)
      return { problem: `expected of the parameters ${PARAMETERS.join(", ")}, each once` };
    if (value === undefined || value === "") return { problem: `expected a value of ${name}` };
    if (name !== "sslmode" && !value.startsWith("/"))
      return { problem: `expected an absolute path for ${name}` };
    found[name] = value;
  }
  return found;
}

function parseTls(
  { sslmode, sslrootcert, sslcert, sslkey }: Parameters,
  local: boolean,
): PostgresTls | undefined | { problem: string } {
  const files = sslrootcert ?? sslcert ?? sslkey;
  if (sslmode !== undefined && sslmode !== "verify-full" && sslmode !== "disable")
    return {
      problem: "expected sslmode=verify-full or sslmode=disable: what is between does not verify the server",
    };
  if (sslmode === "disable" || (sslmode === undefined && local && files === undefined)) {
    if (files === undefined) return undefined;
    return { problem: "sslmode=disable leaves nothing for certificates and keys to do" };
  }
  if ((sslcert === undefined) !== (sslkey === undefined))
    return { problem: "sslcert and sslkey go together" };
  const certificate =
    sslcert === undefined || sslkey === undefined ? undefined : { chain: sslcert, key: sslkey };
  return { anchors: sslrootcert, certificate };
}

function parseServer(name: string, directory: string | undefined): PostgresUrl["server"] | undefined {
  if (directory !== undefined) return name === "" || name === "localhost" ? { directory } : undefined;
  const host = parseHostUnicode(name);
  return host === undefined ? undefined : { host };
}

const isLoopback = (host: Host): boolean =>
  isAddressLiteral(host) ? classify(host as string as Address) === "loopback" : host === "localhost";

/** `null`: a password that cannot be read. The first colon as written divides. */
function parseUserinfo(text: string): [string | undefined, Secret | undefined | null] {
  const colon = text.indexOf(":");
  if (colon < 0 || colon === text.length - 1) return [decode(text.replace(/:$/, "")), undefined];
  const password = decode(text.slice(colon + 1));
  return [decode(text.slice(0, colon)), password === undefined ? null : new Secret(password)];
}

function decode(text: string): string | undefined {
  try {
    const decoded = decodeURIComponent(text);
    return CONTROLS.test(decoded) ? undefined : decoded;
  } catch {
    return undefined;
  }
}

const PARAMETERS = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host"] as const;
const PORT = 5432;
const EXPECTED =
  "expected postgres://user:password@host:port/database, with what is special in them percent-encoded";
const FORM =
  /^postgres(?:ql)?:\/\/([^@/?#\s]+)@((?:\[[^\]@/?#\s]*\]|[^@:/?#[\]\s]*))(?::([0-9]+))?\/([^@/?#\s]+)(?:\?([^@?#\s]*))?$/;
const CONTROLS = /[\p{Cc}\p{Cs}]/u;
