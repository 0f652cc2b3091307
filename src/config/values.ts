// The scalar values of the operator's files: each is read from one spelling, or refused with the spelling that was expected.

import * as z from "zod";
import { parseAddress, parseNetwork, type Address } from "../net/address.ts";
import { parseDuration } from "../net/duration.ts";
import { isAddressLiteral, parseHostUnicode, type Host } from "../net/host.ts";
import { isPostgresUrl, parsePostgresUrl } from "../net/postgres-url.ts";

export type Endpoint = { readonly host: string; readonly port: number };

const UNITS_OCTETS: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/**
 * A scalar in text form: `parse` gives `undefined` for what it does not understand. `title` names the kind in the
 * reference and in editors.
 */
export function text<Value>(expected: string, parse: (text: string) => Value | undefined, title = "string") {
  return z
    .string(`expected ${expected}`)
    .meta({ title })
    .transform((input, context): Value => {
      const value = parse(input);
      if (value !== undefined) return value;
      context.addIssue({ code: "custom", message: `expected ${expected}` });
      return z.NEVER;
    });
}

/** Milliseconds, between two durations and including them. */
export function duration(least: string, most: string) {
  const bounds = between(parseDuration, least, most);
  return text(`a duration such as 500ms, 30s or 5m, from ${least} to ${most}`, bounds, "duration");
}

/** Octets, between two sizes and including them. */
export function size(least: string, most: string) {
  const bounds = between(readSize, least, most);
  return text(`a size such as 64KiB or 256MiB, from ${least} to ${most}`, bounds, "size");
}

export function count(least: number, most: number) {
  const message = `expected a whole number from ${least} to ${most}`;
  return z.int(message).min(least, message).max(most, message);
}

export const endpoint = text(
  "address:port, such as 127.0.0.1:3128, [::1]:3128 or localhost:0",
  readEndpoint,
  "address:port",
);

/** A name server, in the spelling that node:dns takes. */
export const resolver = text(
  "the address of a name server, such as 192.0.2.53 or [2001:db8::53]:5353",
  (input) => {
    const bare = parseAddress(input);
    if (bare !== undefined) return bare;
    const parsed = readEndpoint(input);
    return parsed === undefined || parsed.host === "localhost" || parsed.port === 0 ? undefined : input;
  },
);

export const address = text("an IP address", parseAddress, "IP address");

export const network = text(
  "a network such as 10.0.0.0/8, or an IP address",
  (input) => (parseNetwork(input) === undefined ? undefined : input),
  "network",
);

/** A file or directory; made absolute by the loader. */
export const path = text(
  "a file path (without ${…}: variables are expanded only in secrets)",
  (input) => (isPath(input) ? input : undefined),
  "path",
);

const STORE = "expected a file path, or postgres://user:password@host/database";

/** A file, or the address of a PostgreSQL database. */
export const store = z
  .string(STORE)
  .meta({ title: "path or URL" })
  .transform((input, context): string => {
    const parsed = isPostgresUrl(input) ? parsePostgresUrl(input) : undefined;
    if (parsed !== undefined && "problem" in parsed)
      context.addIssue({ code: "custom", message: parsed.problem });
    else if (parsed === undefined && !isPath(input)) context.addIssue({ code: "custom", message: STORE });
    return input;
  });

export function isPath(input: string): boolean {
  return input !== "" && !input.includes("\0") && !input.includes("${");
}

/** Static answers by name, in the names' one spelling; two spellings of one name are an error, not a choice. */
export const staticHosts = z
  .record(
    z.string(),
    z.array(address, "expected a list of IP addresses").min(1, "expected at least one IP address"),
  )
  .transform((input, context): ReadonlyMap<Host, readonly Address[]> => {
    const hosts = new Map<Host, readonly Address[]>();
    for (const [name, addresses] of Object.entries(input)) {
      const host = parseHostUnicode(name);
      const error = (message: string) => context.addIssue({ code: "custom", path: [name], message });
      if (host === undefined || isAddressLiteral(host))
        error(`expected a host name, got ${JSON.stringify(name)}`);
      else if (hosts.has(host)) error(`the host ${JSON.stringify(host)} is there twice`);
      else hosts.set(host, addresses);
    }
    return hosts;
  });

export const port = count(1, 65_535);

/** Milliseconds since the epoch. A date is its first moment in UTC. */
export const moment = text(
  "a date such as 2027-01-31, or a time with its zone such as 2027-01-31T18:00:00Z",
  (input) => {
    if (!MOMENT.test(input)) return undefined;
    const time = Date.parse(input);
    // Date.parse turns 2027-02-30 into March; what it prints back tells.
    const day = input.slice(0, 10);
    const real = new Date(`${day}T00:00:00Z`);
    return Number.isNaN(time) || Number.isNaN(real.getTime()) || !real.toISOString().startsWith(day)
      ? undefined
      : time;
  },
);

export const method = z.string("expected a method such as GET").superRefine((input, context) => {
  const upper = input.toUpperCase();
  if (!METHOD.test(input)) {
    context.addIssue({ code: "custom", message: "expected a method such as GET" });
  } else if (input !== upper) {
    const message = `methods are case-sensitive: ${JSON.stringify(input)} (did you mean ${JSON.stringify(upper)}?)`;
    context.addIssue({ code: "custom", message });
  } else if (input === "CONNECT") {
    context.addIssue({
      code: "custom",
      message: "CONNECT opens tunnels and is judged by host and port, not listed",
    });
  }
});

export function readSize(input: string): number | undefined {
  const [, number, unit = ""] = /^(\d{1,9})([A-Za-z]{1,3})$/.exec(input) ?? [];
  const scale = Object.hasOwn(UNITS_OCTETS, unit) ? UNITS_OCTETS[unit] : undefined;
  return scale === undefined ? undefined : Number(number) * scale;
}

function between(read: (text: string) => number | undefined, least: string, most: string) {
  const [low, high] = [read(least) ?? Number.NaN, read(most) ?? Number.NaN];
  return (input: string): number | undefined => {
    const value = read(input);
    return value !== undefined && value >= low && value <= high ? value : undefined;
  };
}

function readEndpoint(input: string): Endpoint | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(0|[1-9]\d{0,4})$/.exec(input);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  const [, bracketed, plain] = match;
  if (plain === "localhost") return { host: plain, port };
  const host = parseAddress(bracketed ?? plain ?? "");
  return host === undefined || host.includes(":") !== (bracketed !== undefined) ? undefined : { host, port };
}

const MOMENT = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;
/** RFC 9110 §5.6.2 token. */
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/;
