// What the file says of who is who, as far as one part of it bears on another: ids and names that must differ, networks that must
// not overlap, listeners that must be somebody's.

import { isMapped, type Network, overlap, parseNetwork } from "../net/address.ts";
import { didYouMean, type Diagnostic } from "./diagnostic.ts";
import { isRecord, type Path, type Source } from "./source.ts";

type Context = { readonly source: Source; readonly value: Readonly<Record<string, unknown>> };

export function checkIdentities(context: Context): Diagnostic[] {
  return [
    ...checkSandboxes(context),
    ...checkSources(context),
    ...checkBalancers(context),
    ...checkListening(context),
  ];
}

function checkSandboxes({ source, value }: Context): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  const ids = new Set<string>();
  const certificates = new Set<string>();
  const own = new Set(listening(value).map(({ sandbox }) => sandbox));
  for (const [index, sandbox] of list(value["sandboxes"]).entries()) {
    if (!isRecord(sandbox)) continue;
    const { id, secret, certificate, sources } = sandbox;
    if (secret === undefined && certificate === undefined && list(sources).length === 0 && !own.has(id))
      diagnostics.push(source.error(source.at(["sandboxes", index], "value"), 'missing key "secret"'));
    if (typeof certificate === "string") {
      const place = source.at(["sandboxes", index, "certificate"], "value");
      if (certificates.has(certificate))
        diagnostics.push(source.error(place, `${JSON.stringify(certificate)} names another sandbox already`));
      certificates.add(certificate);
    }
    if (typeof id === "string") {
      const place = source.at(["sandboxes", index, "id"], "value");
      if (ids.has(id)) diagnostics.push(source.error(place, `sandbox ${JSON.stringify(id)} is there twice`));
      ids.add(id);
    }
    if (typeof secret === "string" && secret.length >= 8 && secret.length < LONG_ENOUGH) {
      const place = source.at(["sandboxes", index, "secret"], "value");
      diagnostics.push(source.warning(place, `a secret should have at least ${LONG_ENOUGH} characters`));
    }
  }
  if (value["sandboxes"] === undefined && value["anonymous"] === undefined) {
    const message = "neither sandboxes nor anonymous is given: every connection is answered 407";
    diagnostics.push(source.warning(source.at([], "value"), message));
  }
  return diagnostics;
}

type Claim = { readonly network: Network; readonly text: string; readonly id: unknown; readonly path: Path };

/** An address that is two sandboxes' would be a choice; so would one that is a balancer's, which is whoever it passes on. */
function checkSources({ source, value }: Context): Diagnostic[] {
  const claims = list(value["sandboxes"]).flatMap((sandbox, index) =>
    isRecord(sandbox)
      ? networks(sandbox["sources"]).map(({ at, ...network }): Claim => ({
          ...network,
          id: sandbox["id"],
          path: ["sandboxes", index, "sources", at],
        }))
      : [],
  );
  const balancers = networks(value["proxy_protocol"]);
  const seen: Claim[] = [];
  return claims.flatMap((claim) => {
    const { network, text, id, path } = claim;
    const other = seen.find((one) => one.id !== id && overlap(one.network, network));
    seen.push(claim);
    const balancer = balancers.find((one) => overlap(one.network, network));
    const message =
      network.prefix === 0
        ? `${text} is everybody: name a policy for them with \`anonymous\``
        : isMapped(network)
          ? `${text} is nobody's source: ${AS_IPV4}`
          : other !== undefined
            ? `${text} overlaps ${other.text} of sandbox ${JSON.stringify(other.id)}`
            : balancer && `${text} overlaps ${balancer.text} of proxy_protocol, which speaks for others`;
    return message === undefined ? [] : [source.error(source.at(path, "value"), message)];
  });
}

/** Whoever is believed there may name any source, and so any sandbox that is known by one. */
function checkBalancers({ source, value }: Context): Diagnostic[] {
  return networks(value["proxy_protocol"]).flatMap(({ network, text, at }) => {
    const place = source.at(["proxy_protocol", at], "value");
    if (isMapped(network)) return [source.error(place, `${text} is no balancer's address: ${AS_IPV4}`)];
    if (network.prefix > 0) return [];
    return [source.warning(place, `${text} is everybody: whoever connects can name any source`)];
  });
}

function networks(
  value: unknown,
): { readonly network: Network; readonly text: string; readonly at: number }[] {
  return list(value).flatMap((text, at) => {
    const network = typeof text === "string" ? parseNetwork(text) : undefined;
    return network === undefined || typeof text !== "string" ? [] : [{ network, text, at }];
  });
}

/** Who comes in by a redirect has no credentials to give: the listener or its address says who it is, or nobody does. */
function checkListening({ source, value }: Context): Diagnostic[] {
  const sandboxes = list(value["sandboxes"]).filter(isRecord);
  const ids = sandboxes.flatMap(({ id }) => (typeof id === "string" ? [id] : []));
  const known = value["anonymous"] !== undefined || sandboxes.some(({ sources }) => list(sources).length > 0);
  return listening(value).flatMap(({ path, sandbox, redirects }) => {
    if (typeof sandbox === "string" && !ids.includes(sandbox)) {
      const message = `unknown sandbox ${JSON.stringify(sandbox)}${didYouMean(sandbox, ids)}`;
      return [source.error(source.at([...path, "sandbox"], "value"), message)];
    }
    if (!redirects || sandbox !== undefined || known) return [];
    const message = "neither sandbox nor anonymous is given: everything that arrives here is refused";
    return [source.warning(source.at(path, "value"), message)];
  });
}

export type Listening = {
  readonly path: Path;
  /** Where its address, or its socket, stands. */
  readonly at: Path;
  readonly address: unknown;
  readonly sandbox: unknown;
  readonly redirects: boolean;
};

/** Every entry of `listen`, `transparent` and `dns`; the last may be a mapping. */
export function listening({ listen, transparent, dns }: Readonly<Record<string, unknown>>): Listening[] {
  const doors = Array.isArray(listen)
    ? listen.map((entry: unknown, index) => door(["listen", index], entry))
    : [door(["listen"], listen ?? "127.0.0.1:3128")];
  const entries = (key: string, value: unknown): Listening[] =>
    list(value).flatMap((entry, index) => (isRecord(entry) ? [redirect([key, index], entry)] : []));
  const responders = isRecord(dns) ? [redirect(["dns"], dns)] : entries("dns", dns);
  return [...doors, ...entries("transparent", transparent), ...responders];
}

function door(path: Path, entry: unknown): Listening {
  if (!isRecord(entry)) return { path, at: path, address: entry, sandbox: undefined, redirects: false };
  const key = "socket" in entry ? "socket" : "address";
  return { path, at: [...path, key], address: entry[key], sandbox: entry["sandbox"], redirects: false };
}

function redirect(path: Path, entry: Readonly<Record<string, unknown>>): Listening {
  const { listen, sandbox } = entry;
  return { path, at: [...path, "listen"], address: listen, sandbox, redirects: true };
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

const LONG_ENOUGH = 16;
const AS_IPV4 = "IPv4 is written as IPv4, without ::ffff:";
