// The scenarios, each with what it asks of the load, who takes part, and what is to be reached.

import type { Row } from "./figures.ts";
import { sallyport, startSallyport } from "./kinds/sallyport.ts";
import type { Lab } from "./lab.ts";
import type { Orders } from "./load.ts";
import type { Contender, Peer, Running, Skill } from "./peer.ts";
import type { Verdict } from "./report.ts";
import { refusalContenders, refusalVerdicts } from "./refusal.ts";

export type Target = { readonly peer: string; readonly ratio: number; readonly strict?: boolean };

export type Scenario = {
  readonly name: string;
  readonly title: string;
  /** What CPU is counted for. */
  readonly per: "request" | "GiB";
  readonly orders: (lab: Lab, round: number) => Partial<Orders>;
  /** Who takes part, of the peers that are there. */
  readonly contenders: (peers: readonly Peer[]) => readonly Contender[];
  /** Highest CPU in proportion to a peer's. */
  readonly targets: readonly Target[];
  /** Highest CPU, in microseconds a request. */
  readonly limit?: number;
  /** Targets of another kind. */
  readonly verdicts?: (rows: readonly Row[]) => readonly Verdict[];
};

const MIB = 2 ** 20;
/** Cold hosts asked for in a round, at most; each round takes the next ones. */
const COLD = 3000;
const against = (peer: string, ratio: number, strict?: "strict"): Target => ({
  peer,
  ratio,
  strict: strict === "strict",
});
const skilled =
  (skill: Skill) =>
  (peers: readonly Peer[]): readonly Peer[] =>
    peers.filter(({ skills }) => skills.includes(skill));

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "keep-alive",
    title: "intercepted GET, 1 KiB, 32 connections",
    per: "request",
    contenders: skilled("intercept"),
    orders: () => ({ warmup: 1 }),
    targets: [
      against("haproxy", 1.5),
      against("squid", 1 / 3),
      against("http-mitm-proxy", 1 / 7),
      against("mockttp", 1 / 20),
      against("mitmproxy", 1 / 50),
      against("martian", 1),
      against("goproxy", 1),
    ],
  },
  {
    name: "connect-each",
    title: "intercepted GET, 1 KiB, a connection each, leaf cached",
    per: "request",
    contenders: skilled("handshakes"),
    orders: () => ({ connections: 8, lifetime: 1, warmup: 0.5 }),
    targets: [against("haproxy", 1.6), against("squid", 1, "strict")],
  },
  {
    name: "cold-host",
    title: "intercepted GET, 1 KiB, each of a host never seen: leaf minted, origin's session new",
    per: "request",
    contenders: (peers) =>
      skilled("mint")(peers).map((peer) =>
        peer === sallyport
          ? { name: peer.name, start: (lab) => startSallyport(lab, { upstream: resolvers(lab) }) }
          : peer,
      ),
    orders: (_lab, round) => ({
      connections: 8,
      lifetime: 1,
      host: "c%d.origin.test",
      firstHost: round * COLD,
      requests: COLD,
    }),
    limit: 4000,
    targets: [against("martian", 0.75), against("squid", 0.4)],
  },
  {
    name: "download",
    title: "intercepted GET of 100 MiB",
    per: "GiB",
    contenders: skilled("bulk"),
    orders: () => ({ connections: 2, path: `/b/${100 * MIB}` }),
    targets: [against("haproxy", 1.3), against("squid", 0.65, "strict")],
  },
  {
    name: "upload",
    title: "intercepted PUT of 100 MiB",
    per: "GiB",
    contenders: skilled("bulk"),
    orders: () => ({ connections: 2, method: "PUT", body: 100 * MIB }),
    targets: [against("haproxy", 1.3), against("squid", 0.65, "strict")],
  },
  {
    name: "splice",
    title: "GET, 1 KiB, 32 connections, in tunnels passed unread",
    per: "request",
    contenders: (peers) =>
      skilled("splice")(peers).map((peer) =>
        peer === sallyport ? { name: peer.name, start: startSplicing } : peer,
      ),
    orders: () => ({ warmup: 1 }),
    targets: [against("sandbox-runtime", 1.05)],
  },
  {
    name: "plain",
    title: "plain-HTTP GET, 1 KiB, 32 connections",
    per: "request",
    contenders: skilled("plain"),
    orders: () => ({ via: "plain", warmup: 1 }),
    targets: [against("sandbox-runtime", 1 / 5)],
  },
  {
    name: "refusal",
    title: "POST refused inside a tunnel, 32 connections",
    per: "request",
    contenders: (peers) => refusalContenders(skilled("refuse")(peers)),
    orders: () => ({ method: "POST", status: 403, warmup: 1 }),
    targets: [],
    verdicts: refusalVerdicts,
  },
  {
    name: "http2",
    title: "intercepted GET, 1 KiB, 32 streams on one HTTP/2 connection",
    per: "request",
    contenders: () => [
      {
        name: "sallyport",
        start: (lab) => startSallyport(lab, { more: "http2: always" }),
        orders: () => ({ streams: 32, connections: 1 }),
      },
      { name: "HTTP/1.1", start: (lab) => startSallyport(lab, {}) },
    ],
    orders: () => ({ warmup: 1 }),
    targets: [against("HTTP/1.1", 2)],
  },
];

/** Many names cannot stand in the file: a name server of the lab knows them. */
function resolvers(lab: Lab): string {
  return `  resolvers: ["${lab.nameServer}"]`;
}

async function startSplicing(lab: Lab): Promise<Running> {
  return { ...(await startSallyport(lab, { anonymous: "spliced" })), trusted: lab.ca.pem };
}
