// Runs a scenario through every contender in alternating rounds, and reduces the rounds to medians and ratios.

import { median, type Row } from "./figures.ts";
import type { Lab } from "./lab.ts";
import { measure } from "./load.ts";
import { octetsOf, ordersFor } from "./orders.ts";
import type { Contender, Running } from "./peer.ts";
import { end, type Memory, memoryOf } from "./processes.ts";
import type { Scenario } from "./scenarios.ts";

/** What a round needs to know of a scenario. */
type Asked = Pick<Scenario, "per" | "orders">;

export type Outcome = {
  readonly rows: readonly Row[];
  readonly left: readonly { readonly peer: string; readonly why: string }[];
};
export type Pace = { readonly rounds: number; readonly seconds: number };

type Round = Pick<Row, "cpu" | "perSecond" | "p50" | "p99">;
type Going = { readonly at: Running; readonly rounds: Round[] };

export async function runScenario(
  lab: Lab,
  scenario: Asked,
  contenders: readonly Contender[],
  pace: Pace,
): Promise<Outcome> {
  const left: { peer: string; why: string }[] = [];
  const going = new Map<Contender, Going>();
  const attempt = async (contender: Contender, step: () => Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      left.push({ peer: contender.name, why: error instanceof Error ? error.message : String(error) });
      const gone = going.get(contender);
      going.delete(contender);
      if (gone !== undefined) await end(gone.at.child);
    }
  };
  for (const contender of contenders) {
    await attempt(contender, async () => {
      going.set(contender, { at: await contender.start(lab), rounds: [] });
    });
  }
  // The first round warms up what compiles as it goes, and counts for nobody.
  const warmups = pace.rounds > 1 ? 1 : 0;
  for (let round = 0; round < pace.rounds + warmups; round++) {
    for (const [contender, { at, rounds }] of going) {
      await attempt(contender, async () => {
        const turn = { contender, at, round, seconds: pace.seconds };
        const found = await runRound(lab, scenario, turn).catch((error: unknown) => {
          // A request that fails is news about Sallyport; about another it is worth a second try.
          if (contender.name === "sallyport") throw error;
          return runRound(lab, scenario, turn);
        });
        if (round >= warmups) rounds.push(found);
      });
    }
  }
  const rows: Row[] = [];
  for (const [{ name }, { at, rounds }] of going) {
    rows.push(reduce(name, rounds, await memoryOf(at.pid)));
    await end(at.child);
  }
  return { rows, left };
}

type Turn = {
  readonly contender: Contender;
  readonly at: Running;
  readonly round: number;
  readonly seconds: number;
};

async function runRound(lab: Lab, scenario: Asked, { contender, at, round, seconds }: Turn): Promise<Round> {
  const asked = { seconds, ...scenario.orders(lab, round), ...contender.orders?.(lab) };
  const spent =
    contender.work === undefined
      ? await measure(lab, at.pid, ordersFor(lab, at, asked))
      : await contender.work(at, seconds);
  const units = scenario.per === "GiB" ? (spent.requests * octetsOf(asked)) / 2 ** 30 : spent.requests / 1e6;
  return {
    cpu: spent.cpu / units,
    perSecond: spent.requests / spent.seconds,
    p50: spent.p50,
    p99: spent.p99,
  };
}

function reduce(peer: string, rounds: readonly Round[], memory: Memory): Row {
  const middle = (key: keyof Round): number => median(rounds.map((round) => round[key]));
  return {
    peer,
    cpu: middle("cpu"),
    perSecond: middle("perSecond"),
    p50: middle("p50"),
    p99: middle("p99"),
    rounds: rounds.map(({ cpu }) => cpu),
    memory,
  };
}
