// One name's A and AAAA questions to DNS, on a channel of their own: a stuck name delays no other, each name has fresh
// source ports, and giving up ends the questions. It answers with whichever family there is.

import { Resolver } from "node:dns/promises";
import { setTimeout as sleep } from "node:timers/promises";

import { parseAddress } from "../net/address.ts";
import type { Address } from "../net/address.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import { errorCode } from "./faults.ts";

export type Answer = {
  /** At least one; IPv6 first. */
  readonly addresses: readonly Address[];
  /** 0 where the answer is not complete enough to be kept. */
  readonly ttlSeconds: number;
};

export type QuestionOptions = {
  readonly host: Host;
  /** Name servers as `address` or `address:port`; none: the machine's. */
  readonly servers: readonly string[];
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
};

export async function ask({ host, servers, timeoutMs, signal }: QuestionOptions): Promise<Answer> {
  signal.throwIfAborted();
  // c-ares doubles the wait with each try: 1/4, 1/2, and what is left.
  const channel = new Resolver({ timeout: Math.ceil(timeoutMs / 4), tries: 3 });
  if (servers.length > 0) channel.setServers(servers);
  const cancel = () => channel.cancel();
  const deadline = setTimeout(cancel, timeoutMs);
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const four = outcome(channel.resolve4(host, { ttl: true }));
    const six = outcome(channel.resolve6(host, { ttl: true }));
    return answer(
      await Promise.race([four, lateAfter(six, GRACE_FOUR_MS)]),
      await Promise.race([six, lateAfter(four, GRACE_SIX_MS)]),
    );
  } finally {
    clearTimeout(deadline);
    signal.removeEventListener("abort", cancel);
    channel.cancel();
  }
}

type Record = { readonly address: string; readonly ttl: number };
type Outcome = { readonly records: readonly Record[] } | { readonly error: unknown };

async function outcome(question: Promise<readonly Record[]>): Promise<Outcome> {
  try {
    return { records: await question };
  } catch (error) {
    return { error };
  }
}

/** Settles only if the other family has addresses: then this one may come a little late, and no later. */
async function lateAfter(other: Promise<Outcome>, graceMs: number): Promise<Outcome> {
  if ("error" in (await other)) return new Promise<never>(() => {});
  return sleep(graceMs, { error: LATE }, { ref: false });
}

function answer(four: Outcome, six: Outcome): Answer {
  // Thousands would fit into an answer: nobody is to fill the cache with them, or have them all dialed.
  const records = [six, four].flatMap((one) => ("records" in one ? one.records.slice(0, MAX_RECORDS) : []));
  if (records.length === 0) throw faultOf([four, six]);
  const addresses = new Set(records.map(({ address }) => canonical(address)));
  const ttlSeconds = Math.min(...records.map(({ ttl }) => ttl));
  // Half an answer for want of a packet must not stand for a minute, where only the common family is missing.
  const complete = "records" in four || errorCode(four.error) === "ENODATA";
  return { addresses: [...addresses], ttlSeconds: complete ? ttlSeconds : 0 };
}

function canonical(text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new ProxyFault("dns-failed", new Error("an answer that is no address"));
  return address;
}

function faultOf(outcomes: readonly Outcome[]): ProxyFault {
  const errors = outcomes.flatMap((one) => ("error" in one ? [one.error] : []));
  const codes = errors.map(errorCode);
  const cause = new AggregateError(errors);
  if (codes.includes("ENOTFOUND") || codes.every((code) => code === "ENODATA"))
    return new ProxyFault("dns-not-found", cause);
  // Cancelled: our own deadline.
  if (codes.some((code) => code === "ETIMEOUT" || code === "ECANCELLED"))
    return new ProxyFault("dns-timeout", cause);
  return new ProxyFault("dns-failed", cause);
}

/** Of each family. */
const MAX_RECORDS = 16;
/** RFC 8305 §3's resolution delay, for the family that may be missing. */
const GRACE_SIX_MS = 50;
/** An IPv6-only answer is of no use to most machines: wait longer for the other half. */
const GRACE_FOUR_MS = 1_000;
const LATE = new Error("the other family's answer came first");
