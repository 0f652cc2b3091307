// What is spent of budgets, kept in the store's counters: drawn for the data path, shown to operators, and ended with the sandbox.
// Never grants what the store has not granted.

import { CLAIM_MS, counterOf, type Owner, windowOf } from "../policy/budgets.ts";
import type { Budget, Policy } from "../policy/types.ts";
import type { Draw, Store } from "../store/types.ts";
import type { Bank, BudgetDraw } from "./budgeting.ts";
import type { Registry } from "./registry.ts";
import { type BudgetView, ControlError, type SandboxView } from "./types.ts";

export type BudgetsOptions = {
  readonly store: Store;
  readonly registry: Registry;
  /** As they are now. */
  readonly policies: () => readonly Policy[];
  readonly onFault: (error: unknown) => void;
  readonly now: () => number;
};

export class Budgets implements Bank {
  readonly #options: BudgetsOptions;
  readonly #stopListening: () => void;

  constructor(options: BudgetsOptions) {
    this.#options = options;
    const { registry, onFault } = options;
    this.#stopListening = registry.replica.listen((changes) => {
      for (const { kind, id } of changes) {
        if (kind === "sandbox" && registry.control.sandbox(id)?.state === "ended")
          void this.#end(id).catch(onFault);
      }
    });
  }

  close(): void {
    this.#stopListening();
  }

  readonly draw = async (asked: BudgetDraw): Promise<number | undefined> => {
    const { registry, onFault } = this.#options;
    const { sandbox } = asked.owner;
    // What comes in late for a sandbox that has ended begins no counter anew.
    if (sandbox !== undefined && registry.control.sandbox(sandbox)?.state !== "active") return 0;
    try {
      return await (asked.host === undefined ? this.#draw(asked) : this.#countHost(asked, asked.host));
    } catch (error) {
      if (!isUnavailable(error)) onFault(error);
      return undefined;
    }
  };

  #draw({ owner, budget, window, amount }: BudgetDraw): Promise<number> {
    return this.#options.store.draw({
      counter: counterOf(owner, budget),
      window,
      until: untilOf(budget, window),
      amount,
      limit: budget.limit,
    });
  }

  /**
   * A place is drawn first and the mark set after it, so that of several who ask at once nobody finds a mark that has no place:
   * there are never more hosts than places.
   */
  async #countHost(asked: BudgetDraw, host: string): Promise<number> {
    const { store, now } = this.#options;
    const { owner, budget, window } = asked;
    const mark: Draw = {
      counter: `${counterOf(owner, budget)} ${host}`,
      window,
      // A mark that is forgotten costs its host another place.
      until: now() + MARK_MS,
      amount: 1,
      limit: 1,
    };
    if ((await store.spent(mark.counter, window)) > 0) {
      await store.draw({ ...mark, amount: 0 });
      return 1;
    }
    if ((await this.#draw({ ...asked, amount: 1 })) === 1) {
      if ((await store.draw(mark)) === 0) await this.#draw({ ...asked, amount: -1 });
      return 1;
    }
    return (await store.spent(mark.counter, window)) > 0 ? 1 : 0;
  }

  readonly views = async (id: string): Promise<readonly BudgetView[]> => {
    const { store, registry, policies, now } = this.#options;
    const sandbox = registry.control.sandbox(id);
    if (sandbox === undefined) throw new ControlError("not-found", `there is no sandbox ${id}`);
    const policy = sandbox.policies[sandbox.phase];
    const { budgets = [] } = policies().find(({ name }) => name === policy) ?? {};
    try {
      return await Promise.all(
        budgets.map(async (budget): Promise<BudgetView> => {
          const { name, host, limit, perMs } = budget;
          const window = windowOf(budget, now());
          const spent = await store.spent(counterOf(ownerOf(sandbox, policy), budget), window);
          return { name, host, limit, spent, renews: perMs === 0 ? undefined : window + perMs };
        }),
      );
    } catch (error) {
      if (!isUnavailable(error)) throw error;
      throw new ControlError("unavailable", "what is spent cannot be read: the store does not answer");
    }
  };

  /** Counters that never begin anew end with their sandbox; every other one is over by itself. */
  async #end(sandbox: string): Promise<void> {
    const { store, policies, now } = this.#options;
    const lasting = new Set(
      policies().flatMap(({ name, budgets = [] }) =>
        budgets
          .filter((budget) => untilOf(budget, 0) === 0)
          .map((budget) => counterOf({ sandbox, policy: name }, budget)),
      ),
    );
    for (const counter of lasting)
      await store.draw({ counter, window: 0, until: now(), amount: 0, limit: 0 });
  }
}

function ownerOf({ id }: SandboxView, policy: string): Owner {
  return { sandbox: id, policy };
}

function isUnavailable(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "STORE_UNAVAILABLE";
}

/** 0: it is kept. */
function untilOf({ name, perMs }: Budget, window: number): number {
  if (name === "connections") return window + 2 * CLAIM_MS;
  return perMs === 0 ? 0 : window + perMs;
}

const MARK_MS = 7 * 86_400_000;
