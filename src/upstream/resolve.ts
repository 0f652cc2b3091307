// A permitted host's addresses: static answers, the hosts file, then DNS with a small cache that lives no longer than the
// records. It judges nothing; whoever asks judges every address, each time. Names are absolute: no search domains.

import { LRUCache } from "lru-cache";

import { parseAddress } from "../net/address.ts";
import type { Address } from "../net/address.ts";
import { ProxyFault } from "../net/fault.ts";
import { isAddressLiteral, parseHostUnicode } from "../net/host.ts";
import type { Host } from "../net/host.ts";
import { createHostsFile } from "./hosts-file.ts";
import { ask } from "./questions.ts";
import { createTurns } from "./turns.ts";
import type { Task } from "./turns.ts";

export type ResolverOptions = {
  /** Static answers, ahead of everything else. */
  readonly hosts?: Readonly<Record<string, readonly string[]>>;
  /** Name servers as `address` or `address:port`; none: the machine's. */
  readonly servers?: readonly string[];
  readonly hostsFile?: string;
  readonly timeoutMs: number;
  /** Distinct names asked for at once; one asker gets at most a quarter of it. */
  readonly concurrency?: number;
};

export type Resolver = {
  /**
   * At least one address, or a fault: `dns-not-found`, `dns-failed`, `dns-timeout`; an abort throws the signal's reason.
   * `asker` (the sandbox) is whose share of the questions in flight is used.
   */
  resolve(host: Host, signal: AbortSignal, asker?: string): Promise<readonly Address[]>;
  /** Where it needs no asking: a literal, a static answer, the hosts file, a loopback name. */
  known(host: Host): readonly Address[] | undefined;
};

export function createResolver(options: ResolverOptions): Resolver {
  const { hosts = {}, servers = [], hostsFile = "/etc/hosts", timeoutMs, concurrency = 256 } = options;
  const statics = parseStatics(hosts);
  const machine = createHostsFile(hostsFile);
  const cache = new LRUCache<Host, readonly Address[]>({ max: CACHE_MAX });
  const questions = new Map<Host, Question>();
  const turns = createTurns({
    concurrency,
    share: Math.max(1, Math.floor(concurrency / 4)),
    queue: QUEUE_MAX,
  });

  const open = (host: Host): Question => {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Address[]>();
    // Everybody may have left by the time it fails.
    promise.catch(() => {});
    const controller = new AbortController();
    const run = async () => {
      question.started = true;
      try {
        const { addresses, ttlSeconds } = await ask({ host, servers, timeoutMs, signal: controller.signal });
        const ttl = Math.min(ttlSeconds * 1000, CACHE_MS);
        if (ttl > 0) cache.set(host, addresses, { ttl });
        resolve(addresses);
      } catch (error) {
        reject(error);
      } finally {
        if (questions.get(host) === question) questions.delete(host);
      }
    };
    const question: Question = { promise, waiters: 0, started: false, controller, task: { run } };
    questions.set(host, question);
    return question;
  };

  const wait = async (host: Host, signal: AbortSignal, asker: string) => {
    const question = questions.get(host) ?? open(host);
    question.waiters += 1;
    try {
      if (!question.started && !turns.add(asker, question.task))
        throw new ProxyFault("dns-failed", new Error("too many names wait to be resolved"));
      return await until(question.promise, timeoutMs, signal);
    } finally {
      question.waiters -= 1;
      if (question.waiters === 0) {
        turns.drop(question.task);
        question.controller.abort(UNWANTED);
        if (questions.get(host) === question) questions.delete(host);
      }
    }
  };

  const known = (host: Host): readonly Address[] | undefined =>
    isAddressLiteral(host)
      ? [host as string as Address]
      : (statics.get(host) ?? machine(host) ?? loopback(host));

  return {
    known,
    resolve: async (host, signal, asker = "") => {
      signal.throwIfAborted();
      return known(host) ?? cache.get(host) ?? wait(host, signal, asker);
    },
  };
}

/** A name that is being asked for, once for all who wait for it. */
type Question = {
  readonly promise: Promise<readonly Address[]>;
  readonly task: Task;
  readonly controller: AbortController;
  waiters: number;
  started: boolean;
};

/** RFC 6761 §6.3: such names are loopback and never asked for. The address guard has its say about that. */
function loopback(host: Host): readonly Address[] | undefined {
  return host === "localhost" || host.endsWith(".localhost") ? LOOPBACK : undefined;
}

function parseStatics(
  hosts: Readonly<Record<string, readonly string[]>>,
): ReadonlyMap<Host, readonly Address[]> {
  const parsed = Object.entries(hosts).map(([name, texts]) => {
    const host = parseHostUnicode(name);
    if (host === undefined || isAddressLiteral(host))
      throw new Error(`upstream.hosts: ${name} is no host name`);
    if (texts.length === 0) throw new Error(`upstream.hosts: ${name} has no address`);
    return [host, texts.map((text) => parseStatic(name, text))] as const;
  });
  return new Map(parsed);
}

function parseStatic(name: string, text: string): Address {
  const address = parseAddress(text);
  if (address === undefined) throw new Error(`upstream.hosts: ${name}: ${text} is no address`);
  return address;
}

/** The promise's outcome, unless time runs out or the signal fires first. */
function until<T>(promise: Promise<T>, ms: number, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => settle(() => reject(signal.reason as Error));
    const timer = setTimeout(() => settle(() => reject(new ProxyFault("dns-timeout"))), ms);
    const settle = (act: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      act();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(
      (value) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}

const CACHE_MAX = 4_096;
const CACHE_MS = 60_000;
const QUEUE_MAX = 1_024;
/** Made once: a reason of Node's own comes with a stack, for each name that is asked for. */
const UNWANTED = new Error("nobody waits for this name any more");
const LOOPBACK = ["127.0.0.1", "::1"].map(parseAddress).filter((address) => address !== undefined);
