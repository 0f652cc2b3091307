// What a process holds of a budget, by a bank and a clock of the test's own: drawn ahead, given back, begun anew, claimed anew.

import { expect, test } from "vitest";
import { CLAIM_MS } from "../../src/policy/budgets.ts";
import type { Budget } from "../../src/policy/types.ts";
import { HostPlaces, Places } from "../../src/proxy/places.ts";
import { chunkOf, Purse } from "../../src/proxy/purse.ts";
import type { BudgetDraw } from "../../src/registry/budgeting.ts";

const UNAVAILABLE = { reason: "budget-unavailable", retryMs: 1_000 };
const OWNER = { sandbox: "a", policy: "p" };

function bench(limit: number, name: Budget["name"] = "upload", perMs = 0) {
  const budget: Budget = { name, host: undefined, limit, perMs, source: "sallyport.yaml:1:1" };
  const spent = new Map<number, number>();
  const made = {
    budget,
    at: 10 * CLAIM_MS,
    known: true,
    draws: [] as BudgetDraw[],
    spentIn: (window: number) => spent.get(window) ?? 0,
    options: {
      owner: OWNER,
      now: () => made.at,
      onSpent: () => {},
      bank: {
        draw: async (draw: BudgetDraw): Promise<number | undefined> => {
          made.draws.push(draw);
          if (!made.known) return undefined;
          const before = spent.get(draw.window) ?? 0;
          const granted = Math.max(-before, Math.min(draw.amount, draw.budget.limit - before));
          spent.set(draw.window, before + granted);
          return granted;
        },
      },
    },
  };
  return made;
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a chunk is a 64th, at least one and at most 1 MiB", () => {
  expect([0, 1, 64, 65, 2 ** 20, 2 ** 26, 2 ** 40].map(chunkOf)).toEqual([
    1,
    1,
    1,
    2,
    2 ** 14,
    2 ** 20,
    2 ** 20,
  ]);
});

test("it is drawn ahead of need, a chunk at a time, and never more than a chunk is held", async () => {
  const { budget, options, spentIn } = bench(6400);
  const purse = new Purse(budget, options);
  expect(await purse.need(1)).toBeUndefined();
  expect([purse.left, spentIn(0)]).toEqual([100, 100]);
  purse.spend(51);
  await settled();
  expect([purse.left, spentIn(0)]).toEqual([100, 151]);
});

test("what is not there is not granted; what is left can be spent; nobody is asked again at once", async () => {
  const made = bench(100);
  const purse = new Purse(made.budget, made.options);
  expect(await purse.need(101)).toMatchObject({ reason: "budget-spent", retryMs: 3_600_000 });
  expect(purse.left).toBe(100);
  purse.spend(100);
  const { length } = made.draws;
  expect(await purse.need(1)).toMatchObject({ reason: "budget-spent" });
  expect(made.draws.length).toBe(length);
  made.at += 1_001;
  expect(await purse.need(1)).toMatchObject({ reason: "budget-spent" });
  expect(made.draws.length).toBe(length + 1);
  purse.follow({ ...made.budget, limit: 200 });
  expect(await purse.need(100)).toBeUndefined();
});

test("where nobody can tell, what was drawn is spent and no more", async () => {
  const made = bench(6400);
  const purse = new Purse(made.budget, made.options);
  await purse.need(1);
  made.known = false;
  purse.spend(purse.left);
  expect(await purse.need(1)).toMatchObject({ reason: "budget-unavailable", retryMs: 1_000 });
  made.known = true;
  made.at += 1_001;
  expect(await purse.need(1)).toBeUndefined();
});

test("it begins anew with its window, and what was drawn in the one before is worth nothing", async () => {
  const made = bench(10, "requests", 60_000);
  const purse = new Purse(made.budget, made.options);
  expect(await purse.need(10)).toBeUndefined();
  purse.spend(10);
  made.at += 15_000;
  expect(await purse.need(1)).toMatchObject({ reason: "budget-spent", retryMs: 45_000 });
  made.at += 45_000;
  expect(purse.left).toBe(0);
  expect(await purse.need(1)).toBeUndefined();
});

test("what is not wanted for a while goes back, and at the end", async () => {
  const made = bench(6400);
  const purse = new Purse(made.budget, made.options);
  await purse.need(1);
  purse.spend(1);
  expect(purse.settle()).toBe(false);
  made.at += 5_000;
  expect(purse.settle()).toBe(true);
  await settled();
  expect([purse.left, made.spentIn(0)]).toEqual([0, 1]);
  await purse.need(1);
  await purse.close();
  expect(made.spentIn(0)).toBe(1);
});

test("connections of a process that crashed are free again after a minute; those that are open are claimed anew", async () => {
  const made = bench(2, "connections");
  const crashed = new Places(made.budget, made.options);
  const living = new Places(made.budget, made.options);
  const cut = (): never => {
    throw new Error("it was granted");
  };
  expect(await crashed.enter(() => {})).toBeUndefined();
  expect(await living.enter(cut)).toBeUndefined();
  expect(await living.enter(cut)).toMatchObject({ reason: "budget-spent", retryMs: 1_000 });
  made.at += CLAIM_MS;
  living.renew();
  const other = (): void => {};
  expect(await living.enter(other)).toBeUndefined();
  expect(await living.enter(() => {})).toMatchObject({ reason: "budget-spent" });
  living.leave(other);
  living.leave(other);
  await settled();
  expect(made.spentIn(made.at)).toBe(1);
});

test("what others claimed first in a new minute is cut here, and gives back what it did not have", async () => {
  const made = bench(1, "connections");
  const first = new Places(made.budget, made.options);
  const second = new Places(made.budget, made.options);
  const cuts: string[] = [];
  const cut = ({ reason }: { reason: string }): void => void cuts.push(reason);
  expect(await first.enter(cut)).toBeUndefined();
  made.at += CLAIM_MS;
  expect(await second.enter(() => {})).toBeUndefined();
  first.renew();
  await settled();
  expect(cuts).toEqual(["budget-spent"]);
  first.leave(cut);
  await settled();
  expect(made.spentIn(made.at)).toBe(1);
});

test("a host is asked for once, and again the next day", async () => {
  const made = bench(5, "hosts");
  const hosts = new HostPlaces(made.budget, made.options);
  await hosts.enter("one.test");
  await hosts.enter("one.test");
  expect(made.draws.length).toBe(1);
  made.at += 86_400_000;
  await hosts.enter("one.test");
  expect(made.draws.length).toBe(2);
  made.known = false;
  expect(await hosts.enter("two.test")).toMatchObject({ reason: "budget-unavailable" });
});

// As docs/budgets.md has it, whatever is counted.
test.each([
  { name: "for its life", perMs: 0, known: true, reason: "budget-spent", retryMs: 3_600_000 },
  { name: "for its life, where nobody can tell", perMs: 0, known: false, ...UNAVAILABLE },
  { name: "for a minute", perMs: 60_000, known: true, reason: "budget-spent", retryMs: 45_000 },
  { name: "for a minute, where nobody can tell", perMs: 60_000, known: false, ...UNAVAILABLE },
])("hosts $name: when it is worth another try", async ({ perMs, known, reason, retryMs }) => {
  const made = bench(1, "hosts", perMs);
  const hosts = new HostPlaces(made.budget, made.options);
  made.at += 15_000;
  expect(await hosts.enter("one.test")).toBeUndefined();
  made.known = known;
  expect(await hosts.enter("two.test")).toMatchObject({ reason, retryMs });
});
