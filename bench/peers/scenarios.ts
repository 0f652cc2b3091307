// The scenarios, each with what it asks of the load and with what is to be reached.

import type { Lab } from "./lab.ts";
import type { Orders } from "./load.ts";
import type { Peer, Running, Skill } from "./peer.ts";

export type Target = { readonly peer: string; readonly ratio: number; readonly strict?: boolean };

export type Scenario = {
  readonly name: string;
  readonly title: string;
  readonly skill: Skill;
  /** What CPU is counted for. */
  readonly per: "request" | "GiB";
  readonly orders: (lab: Lab, round: number) => Partial<Orders>;
  /** Where a peer is to be set up otherwise than it is by itself. */
  readonly start?: (peer: Peer, lab: Lab) => Promise<Running> | undefined;
  /** Highest CPU in proportion to a peer's. */
  readonly targets: readonly Target[];
  /** Highest CPU, in microseconds a request. */
  readonly limit?: number;
};

const MIB = 2 ** 20;
const AGAINST_HAPROXY = (ratio: number): Target => ({ peer: "haproxy", ratio });

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "keep-alive",
    title: "intercepted GET, 1 KiB, 32 connections",
    skill: "intercept",
    per: "request",
    orders: () => ({ connections: 32, warmup: 1 }),
    targets: [
      AGAINST_HAPROXY(1.5),
      { peer: "squid", ratio: 1 / 3 },
      { peer: "http-mitm-proxy", ratio: 1 / 7 },
      { peer: "mockttp", ratio: 1 / 20 },
      { peer: "mitmproxy", ratio: 1 / 50 },
      { peer: "martian", ratio: 1 },
      { peer: "goproxy", ratio: 1 },
    ],
  },
  {
    name: "connect-each",
    title: "intercepted GET, 1 KiB, a connection each, leaf cached",
    skill: "intercept",
    per: "request",
    orders: () => ({ connections: 8, each: true, warmup: 0.5 }),
    targets: [AGAINST_HAPROXY(1.6), { peer: "squid", ratio: 1, strict: true }],
  },
  {
    name: "download",
    title: "intercepted GET of 100 MiB",
    skill: "intercept",
    per: "GiB",
    orders: () => ({ connections: 2, path: `/b/${100 * MIB}` }),
    targets: [AGAINST_HAPROXY(1.3), { peer: "squid", ratio: 0.65, strict: true }],
  },
  {
    name: "upload",
    title: "intercepted PUT of 100 MiB",
    skill: "intercept",
    per: "GiB",
    orders: () => ({ connections: 2, method: "PUT", body: 100 * MIB }),
    targets: [AGAINST_HAPROXY(1.3), { peer: "squid", ratio: 0.65, strict: true }],
  },
];

/** The octets of a body either way that a request of the scenario moves. */
export function octetsOf({ path = "", body = 0 }: Partial<Orders>): number {
  return body + Number(/^\/b\/(\d+)$/.exec(path)?.[1] ?? 0);
}

export function ordersFor(lab: Lab, running: Running, more: Partial<Orders>): Orders {
  const { proxy, via, trusted } = running;
  return {
    via,
    proxy,
    trusted,
    host: "origin.test",
    port: more.via === "plain" ? lab.origin.plain : lab.origin.secured,
    method: "GET",
    path: "/b/1024",
    status: 200,
    connections: 32,
    requests: 10_000_000,
    seconds: 3,
    ...more,
  };
}
