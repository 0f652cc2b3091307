// Runs a scenario through every peer in alternating rounds, and reduces the rounds to medians and ratios.

import type { Lab } from "./lab.ts";
import { measure } from "./load.ts";
import { type Memory, end, memoryOf } from "./processes.ts";
import type { Peer, Running } from "./peer.ts";
import { octetsOf, ordersFor, type Scenario } from "./scenarios.ts";

export type Row = {
  readonly peer: string;
  /** Microseconds a request, or seconds per GiB. */
  readonly cpu: number;
  readonly least: number;
  readonly most: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  /** When the rounds are over. */
  readonly memory: Memory;
};

export type Left = { readonly peer: string; readonly why: string };
export type Outcome = {
  readonly scenario: Scenario;
  readonly rows: readonly Row[];
  readonly left: readonly Left[];
};
export type Pace = { readonly rounds: number; readonly seconds: number };

type Round = Pick<Row, "cpu" | "perSecond" | "p50" | "p99">;

export async function runScenario(
  lab: Lab,
  scenario: Scenario,
  peers: readonly Peer[],
  pace: Pace,
): Promise<Outcome> {
  const left: Left[] = [];
  const running = new Map<Peer, { readonly at: Running; readonly rounds: Round[] }>();
  const drop = async (peer: Peer, error: unknown): Promise<void> => {
    left.push({ peer: peer.name, why: error instanceof Error ? error.message : String(error) });
    const gone = running.get(peer);
    running.delete(peer);
    if (gone !== undefined) await end(gone.at.child);
  };
  for (const peer of peers.filter(({ skills }) => skills.includes(scenario.skill))) {
    try {
      running.set(peer, { at: await (scenario.start?.(peer, lab) ?? peer.start(lab)), rounds: [] });
    } catch (error) {
      await drop(peer, error);
    }
  }
  // The first round warms up what compiles as it goes, and counts for nobody.
  for (let round = pace.rounds > 1 ? -1 : 0; round < pace.rounds; round++) {
    for (const [peer, { at, rounds }] of running) {
      try {
        const measured = await runRound(lab, scenario, at, { round: round + 1, seconds: pace.seconds });
        if (round >= 0) rounds.push(measured);
      } catch (error) {
        await drop(peer, error);
      }
    }
  }
  const rows: Row[] = [];
  for (const [peer, { at, rounds }] of running) {
    rows.push(reduce(peer.name, rounds, await memoryOf(at.pid)));
    await end(at.child);
  }
  return { scenario, rows, left };
}

async function runRound(
  lab: Lab,
  scenario: Scenario,
  at: Running,
  { round, seconds }: { round: number; seconds: number },
): Promise<Round> {
  const asked = { seconds, ...scenario.orders(lab, round) };
  const spent = await measure(lab, at.pid, ordersFor(lab, at, asked));
  const units = scenario.per === "GiB" ? (spent.requests * octetsOf(asked)) / 2 ** 30 : spent.requests / 1e6;
  return {
    cpu: spent.cpu / units,
    perSecond: spent.requests / spent.seconds,
    p50: spent.p50,
    p99: spent.p99,
  };
}

function reduce(peer: string, rounds: readonly Round[], memory: Memory): Row {
  const of = (key: keyof Round): number[] => rounds.map((round) => round[key]).toSorted((a, b) => a - b);
  const middle = (key: keyof Round): number => of(key)[rounds.length >> 1] ?? 0;
  const cpu = of("cpu");
  return {
    peer,
    cpu: middle("cpu"),
    least: cpu[0] ?? 0,
    most: cpu.at(-1) ?? 0,
    perSecond: middle("perSecond"),
    p50: middle("p50"),
    p99: middle("p99"),
    memory,
  };
}
