// Who the proxy would take a connection for, and why: by where it comes in, what it says and where it is from, as the file tells.
// Sandboxes that are registered while the proxy runs are not known here: registered.ts asks for them.

import type { Config } from "../config/types.ts";
import { agree, type Claims, type Means } from "../identity/means.ts";
import { Sources } from "../identity/sources.ts";
import { CliError, EXIT } from "./errors.ts";

export type Told = {
  /** Whose credentials it sends, one of the file's. */
  readonly sandbox?: string | undefined;
  /** `address:port` or the path of a socket, as in the file. */
  readonly listener?: string | undefined;
  /** Its address. */
  readonly source?: string | undefined;
};

export type Who = { readonly sandbox: string | undefined; readonly because: string };

export function whoIs(config: Config, told: Told): Who {
  const claims = claimsOf(config, told);
  const agreed = agree(claims);
  if (!agreed.ok) {
    const why =
      agreed.against === undefined
        ? `${SAYS[agreed.wrong]} is claimed by several`
        : `${SAYS[agreed.wrong]} says ${String(claims[agreed.wrong])}, and ${SAYS[agreed.against]} says ${String(claims[agreed.against])}`;
    throw new CliError(`credentials-wrong: ${why}, so it is answered 407.`, EXIT.denied);
  }
  if (agreed.who === undefined) return { sandbox: undefined, because: "nothing says whose it is" };
  return { sandbox: agreed.who, because: `by ${SAYS[agreed.by]}` };
}

function claimsOf(config: Config, { sandbox, listener, source }: Told): Claims<string> {
  return {
    listener: listener === undefined ? undefined : ownerOf(config, listener),
    credentials: sandbox,
    source: source === undefined ? undefined : sourceOf(config, source),
  };
}

function ownerOf({ listen, sockets }: Config, text: string): string | undefined {
  const named = [
    ...listen.map(({ host, port, sandbox }) => ({
      name: host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`,
      sandbox,
    })),
    ...sockets.map(({ path, sandbox }) => ({ name: path, sandbox })),
  ];
  const found = named.find(({ name }) => name === text);
  if (found !== undefined) return found.sandbox;
  const known = named.map(({ name }) => name).join(", ");
  throw new CliError(`there is no listener ${JSON.stringify(text)}: the file names ${known}.`);
}

function sourceOf({ sandboxes }: Config, address: string): string | undefined {
  const sources = new Sources();
  for (const { id, sources: own } of sandboxes) sources.set(id, own);
  // The file's networks do not overlap.
  const [id] = sources.find(address);
  return id;
}

const SAYS: Readonly<Record<Means, string>> = {
  listener: "its listener",
  certificate: "its client certificate",
  credentials: "its credentials",
  source: "the address that it comes from",
};
