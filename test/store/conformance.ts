// What both stores must do, in one suite: it is handed a way to open a store and to cut it off, and knows nothing of what is
// behind it.

import * as fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type Body, type Change, type Store, StoreUnavailable, type Write } from "../../src/store/types.ts";
import { eventually } from "../support/eventually.ts";

export type Subject = {
  /** An empty store; `again` opens another that shares it, at the same time where `shared`. */
  readonly open: () => Promise<{ store: Store; again: () => Promise<Store> }>;
  /** Whether several may have it open at once. */
  readonly shared: boolean;
  /** Cuts off what was opened last, until the returned function is called. */
  readonly cutOff: () => Promise<() => Promise<void>>;
};

export function conforms(subject: Subject): void {
  let store: Store;
  let again: () => Promise<Store>;
  const others: Store[] = [];
  const another = async (): Promise<Store> => {
    const other = await again();
    others.push(other);
    return other;
  };
  const fresh = async (): Promise<void> => {
    ({ store, again } = await subject.open());
    others.push(store);
  };
  afterEach(async () => {
    await Promise.all(others.splice(0).map((one) => one.close()));
  });

  describe("documents", () => {
    test("an empty store has nothing, at revision 0", async () => {
      await fresh();
      expect(await store.read()).toEqual({ revision: 0, items: [] });
      expect(await store.changes(0)).toEqual({ revision: 0, items: [] });
      expect(store.healthy()).toBe(true);
    });

    test("what is written is read, and told as a change", async () => {
      await fresh();
      await store.read();
      expect(await store.write([make("a", { n: 1 })])).toEqual({ ok: true, revision: 1, versions: [1] });
      const document = { kind: "sandbox", id: "a", version: 1, body: { n: 1 } };
      expect(await store.read()).toEqual({ revision: 1, items: [document] });
      expect(await store.changes(0)).toEqual({ revision: 1, items: [document] });
      expect(await store.changes(1)).toEqual({ revision: 1, items: [] });
    });

    test("a version is replaced by the next, and by no other", async () => {
      await fresh();
      await store.write([make("a", { n: 1 })]);
      const conflict = { ok: false, conflict: { kind: "sandbox", id: "a" } };
      expect(await store.write([make("a", { n: 2 })])).toEqual(conflict);
      expect(await store.write([change("a", 2, { n: 2 })])).toEqual(conflict);
      expect(await store.write([change("b", 1, { n: 2 })])).toMatchObject({ conflict: { id: "b" } });
      expect(await store.write([change("a", 1, { n: 2 })])).toEqual({ ok: true, revision: 2, versions: [2] });
      expect(await store.write([change("a", 1, { n: 3 })])).toEqual(conflict);
      expect((await store.read()).items).toEqual([{ kind: "sandbox", id: "a", version: 2, body: { n: 2 } }]);
    });

    test("kinds have names of their own", async () => {
      await fresh();
      await store.write([make("a", { n: 1 }), { ...make("a", { n: 2 }), kind: "grant" }]);
      const { items } = await store.read();
      expect(new Map(items.map(({ kind, body }) => [kind, body]))).toEqual(
        new Map([
          ["grant", { n: 2 }],
          ["sandbox", { n: 1 }],
        ]),
      );
    });

    test("several are written all or none, at one revision", async () => {
      await fresh();
      await store.read();
      expect(await store.write([make("a", {}), make("b", {}), make("c", {})])).toMatchObject({ revision: 1 });
      const refused = await store.write([
        change("a", 1, { n: 1 }),
        remove("b", 1),
        change("c", 7, {}),
        make("d", {}),
      ]);
      expect(refused).toEqual({ ok: false, conflict: { kind: "sandbox", id: "c" } });
      const { revision, items } = await store.read();
      expect(revision).toBe(1);
      expect(items.map(({ id, version }) => `${id}${version}`).sort()).toEqual(["a1", "b1", "c1"]);
      expect(await store.changes(1)).toEqual({ revision: 1, items: [] });
    });

    test("a removed one is told of as such, and made again from the beginning", async () => {
      await fresh();
      await store.read();
      await store.write([make("a", { n: 1 })]);
      await store.write([change("a", 1, { n: 2 })]);
      expect(await store.write([remove("a", 1)])).toMatchObject({ ok: false });
      expect(await store.write([remove("a", 2)])).toMatchObject({ ok: true, revision: 3 });
      expect((await store.read()).items).toEqual([]);
      expect((await store.changes(0))?.items).toEqual([{ kind: "sandbox", id: "a", removed: true }]);
      expect(await store.write([change("a", 3, {})])).toMatchObject({ ok: false });
      expect(await store.write([make("a", { n: 9 })])).toEqual({ ok: true, revision: 4, versions: [1] });
      const document = { kind: "sandbox", id: "a", version: 1, body: { n: 9 } };
      expect((await store.changes(2))?.items).toEqual([document]);
    });

    test("of several changes of one document the last is told, in the order of revisions", async () => {
      await fresh();
      await store.read();
      for (const id of ["a", "b", "c"]) await store.write([make(id, {})]);
      await store.write([change("a", 1, { n: 2 })]);
      const changes = await store.changes(1);
      expect(changes?.items.map(({ id }) => id)).toEqual(["b", "c", "a"]);
      expect(changes?.revision).toBe(4);
    });

    test("changes after a revision that never was are not known", async () => {
      await fresh();
      await store.read();
      await store.write([make("a", {})]);
      expect(await store.changes(2)).toBeUndefined();
    });

    test("bodies come back as they were", async () => {
      await fresh();
      const body: Body = {
        text: "\u0000\u001f\u202e\ud800 'quoted\" \\ ${x} %s $1 Ω 🚪",
        numbers: [0, -1, 1.5, 2 ** 53 - 1, 1e-7],
        deep: { a: [{ b: [null, true, {}] }], "": "", __proto__x: 1 },
        long: "x".repeat(100_000),
      };
      const id = "ü/ 'id\" \\ $1 🚪";
      await store.write([make(id, body)]);
      expect((await store.read()).items).toEqual([{ kind: "sandbox", id, version: 1, body }]);
    });

    test.each<[string, Write]>([
      ["no id", make("", {})],
      ["129 characters of an id", make("x".repeat(129), {})],
      ["NUL in an id", make("a\0b", {})],
      ["half a pair in an id", make("\ud800", {})],
      ["half a version", change("a", 1.5, {})],
      ["a version below 0", change("a", -1, {})],
      ["more than a mebibyte", make("a", { x: "x".repeat(2 ** 20) })],
    ])("refused as the caller's error: %s", async (_, write) => {
      await fresh();
      const error = await store.write([make("b", {}), write]).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(Error);
      expect(error).not.toBeInstanceOf(StoreUnavailable);
      await expect(store.write([make("c", {}), make("c", {})])).rejects.toThrow(TypeError);
      expect(store.healthy()).toBe(true);
      expect(await store.read()).toEqual({ revision: 0, items: [] });
    });

    test("what was written is there after it was closed and opened", async () => {
      await fresh();
      await store.write([make("a", { n: 1 })]);
      await store.draw({ counter: "c", window: 0, until: 0, amount: 3, limit: 10 });
      await store.close();
      const other = await another();
      expect((await other.read()).items).toEqual([{ kind: "sandbox", id: "a", version: 1, body: { n: 1 } }]);
      expect(await other.spent("c", 0)).toBe(3);
    });

    test("a thousand documents", async () => {
      await fresh();
      const ids = Array.from({ length: 1_000 }, (_, index) => `s${index}`);
      await store.write(ids.map((id) => make(id, { id })));
      const { items } = await store.read();
      expect(items.map(({ id }) => id).sort()).toEqual([...ids].sort());
    });

    test("random operations do what they do in a model", async () => {
      await fresh();
      await store.read();
      let revision = 0;
      const model = new Map<string, { version: number; body: Body }>();
      const seen = new Map<string, Body>();
      let followed = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 6 }), async (asked) => {
          const writes = [...new Map(asked.map((one) => [one.id, one])).values()].map(
            ({ id, body, stale }): Write => {
              const version = (model.get(id)?.version ?? 0) + (stale ? 1 : 0);
              return { kind: "grant", id, body, version };
            },
          );
          const written = await store.write(writes);
          const stale = writes.find(({ id, version }) => (model.get(id)?.version ?? 0) !== version);
          if (stale === undefined) {
            revision++;
            for (const { id, body, version } of writes) {
              if (body === undefined) model.delete(id);
              else model.set(id, { version: version + 1, body });
            }
            expect(written).toMatchObject({ ok: true, revision });
          } else expect(written).toEqual({ ok: false, conflict: { kind: "grant", id: stale.id } });
          if (revision % 3 === 0) return;
          // A follower that hears of some revisions only ends with the same.
          const changes = await store.changes(followed);
          for (const one of changes?.items ?? []) apply(seen, one);
          followed = changes?.revision ?? 0;
          expect(sorted(seen)).toEqual(sorted(new Map([...model].map(([id, { body }]) => [id, body]))));
        }),
        { numRuns: 100, endOnFailure: true },
      );
      const { items } = await store.read();
      expect(sorted(new Map(items.map(({ id, version, body }) => [id, { version, body }])))).toEqual(
        sorted(model),
      );
    });
  });

  describe("several writers", () => {
    test("of many who replace one version, one does", async () => {
      await fresh();
      const stores = subject.shared ? [store, await another()] : [store];
      await store.write([make("a", { n: 0 })]);
      const written = await Promise.all(
        Array.from({ length: 20 }, (_, n) => stores[n % stores.length]!.write([change("a", 1, { n })])),
      );
      expect(written.filter(({ ok }) => ok)).toHaveLength(1);
      expect((await store.read()).items).toMatchObject([{ version: 2 }]);
    });

    test("a follower sees every revision in its order, and nothing twice or never", async () => {
      await fresh();
      const stores = subject.shared ? [store, await another(), await another()] : [store];
      const reader = stores.at(-1)!;
      let { revision } = await reader.read();
      const told: string[] = [];
      const writing = { now: true };
      const follow = async (): Promise<void> => {
        const changes = await reader.changes(revision);
        expect(changes).toBeDefined();
        if (changes === undefined) return;
        expect(changes.revision).toBeGreaterThanOrEqual(revision);
        revision = changes.revision;
        told.push(...changes.items.map(({ id }) => id));
      };
      const following = (async () => {
        while (writing.now) await follow();
        await follow();
      })();
      const writers = Array.from({ length: 6 }, async (_, writer) => {
        for (let n = 0; n < 25; n++)
          await stores[writer % stores.length]!.write([make(`${writer}.${n}`, {})]);
      });
      await Promise.all(writers);
      writing.now = false;
      await following;
      expect(revision).toBe(150);
      expect(told).toHaveLength(150);
      expect(new Set(told).size).toBe(150);
      for (let writer = 0; writer < 6; writer++) {
        const own = told.filter((id) => id.startsWith(`${writer}.`));
        expect(own).toEqual(Array.from({ length: 25 }, (_, n) => `${writer}.${n}`));
      }
    });

    test("whoever watches hears of it soon, until it ends that", async () => {
      await fresh();
      const watched = subject.shared ? await another() : store;
      const changed = vi.fn();
      const end = watched.watch(changed);
      await eventually(async () => {
        changed.mockClear();
        const before = await watched.read();
        await store.write([make(`s${before.revision}`, {})]);
        await vi.waitFor(() => expect(changed).toHaveBeenCalled(), { timeout: 1_000 });
        await watched.read();
        expect((await watched.changes(before.revision))?.items).toHaveLength(1);
      });
      end();
      await eventually(async () => {
        changed.mockClear();
        await store.write([make(`t${(await store.read()).revision}`, {})]);
        expect(changed).not.toHaveBeenCalled();
      });
    });
  });

  describe("counters", () => {
    const draw = (amount: number, limit = 10, window = 0) => ({
      counter: "c",
      window,
      until: 0,
      amount,
      limit,
    });

    test("give what is left and no more", async () => {
      await fresh();
      expect(await store.draw(draw(4))).toBe(4);
      expect(await store.draw(draw(4))).toBe(4);
      expect(await store.draw(draw(4))).toBe(2);
      expect(await store.draw(draw(4))).toBe(0);
      expect(await store.spent("c", 0)).toBe(10);
      expect(await store.spent("other", 0)).toBe(0);
    });

    test("the first draw is held to the limit, too", async () => {
      await fresh();
      expect(await store.draw(draw(40))).toBe(10);
      expect(await store.draw({ ...draw(1), counter: "d", limit: 0 })).toBe(0);
      expect(await store.draw({ ...draw(-5), counter: "e" })).toBe(0);
      expect(await store.spent("e", 0)).toBe(0);
    });

    test("take back what was given, and never more", async () => {
      await fresh();
      await store.draw(draw(6));
      expect(await store.draw(draw(-2))).toBe(-2);
      expect(await store.spent("c", 0)).toBe(4);
      expect(await store.draw(draw(-9))).toBe(-4);
      expect(await store.draw(draw(20))).toBe(10);
    });

    test("a limit that was lowered gives nothing more, and takes nothing back", async () => {
      await fresh();
      await store.draw(draw(8));
      expect(await store.draw(draw(1, 5))).toBe(0);
      expect(await store.spent("c", 0)).toBe(8);
      expect(await store.draw(draw(5, 12))).toBe(4);
    });

    test("each window begins anew", async () => {
      await fresh();
      expect(await store.draw(draw(10, 10, 1_000))).toBe(10);
      expect(await store.draw(draw(10, 10, 2_000))).toBe(10);
      expect(await store.draw(draw(1, 10, 1_000))).toBe(0);
      expect(await store.spent("c", 1_000)).toBe(10);
    });

    test("large numbers are exact", async () => {
      await fresh();
      const most = Number.MAX_SAFE_INTEGER;
      expect(await store.draw(draw(most - 1, most))).toBe(most - 1);
      expect(await store.draw(draw(most, most))).toBe(1);
      expect(await store.spent("c", 0)).toBe(most);
    });

    test("fifty who draw at once never get more than the limit", async () => {
      await fresh();
      const stores = subject.shared ? [store, await another()] : [store];
      const got = await Promise.all(
        Array.from({ length: 50 }, async (_, drawer) => {
          let sum = 0;
          for (let n = 0; n < 5; n++) sum += await stores[drawer % stores.length]!.draw(draw(7, 1_000));
          return sum;
        }),
      );
      expect(got.reduce((a, b) => a + b, 0)).toBe(1_000);
      expect(await store.spent("c", 0)).toBe(1_000);
    });

    test("random draws do what they do in a model", async () => {
      await fresh();
      let spent = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: -60, max: 60 }),
          fc.integer({ min: 0, max: 100 }),
          async (amount, limit) => {
            const granted =
              amount < 0 ? Math.max(amount, -spent) : Math.max(0, Math.min(amount, limit - spent));
            expect(await store.draw(draw(amount, limit))).toBe(granted + 0);
            spent += granted;
          },
        ),
        { numRuns: 100, endOnFailure: true },
      );
      expect(await store.spent("c", 0)).toBe(spent);
    });

    test.each([
      { amount: 0.5 },
      { amount: Number.NaN },
      { limit: Number.POSITIVE_INFINITY },
      { limit: -1 },
      { window: -1 },
      { until: 2 ** 60 },
      { counter: "" },
      { counter: "x".repeat(513) },
    ])("refused as the caller's error: %o", async (odd) => {
      await fresh();
      await expect(store.draw({ ...draw(1), ...odd })).rejects.toThrow(TypeError);
      expect(store.healthy()).toBe(true);
    });
  });

  describe("cut off", () => {
    let mend: (() => Promise<void>) | undefined;
    afterEach(async () => {
      await mend?.();
      mend = undefined;
    });

    test("every operation says so within its bound, and works again afterwards", async () => {
      await fresh();
      await store.write([make("a", { n: 1 })]);
      await store.draw({ counter: "c", window: 0, until: 0, amount: 3, limit: 10 });
      await store.read();
      mend = await subject.cutOff();
      const operations: [string, () => Promise<unknown>][] = [
        ["write", () => store.write([make("b", {})])],
        ["draw", () => store.draw({ counter: "c", window: 0, until: 0, amount: 3, limit: 10 })],
        ["spent", () => store.spent("c", 0)],
      ];
      for (const [name, operation] of operations) {
        const from = performance.now();
        await expect(operation(), name).rejects.toThrow(StoreUnavailable);
        expect(performance.now() - from, name).toBeLessThan(3_000);
        expect(store.healthy()).toBe(false);
      }
      await mend();
      mend = undefined;
      await vi.waitFor(async () => expect((await store.read()).items).toHaveLength(1), {
        timeout: 15_000,
        interval: 100,
      });
      expect(store.healthy()).toBe(true);
      expect(await store.spent("c", 0)).toBe(3);
      expect(await store.write([make("b", {})])).toMatchObject({ ok: true });
    });

    test("a closed store does nothing, and is closed twice without harm", async () => {
      await fresh();
      await store.close();
      await store.close();
      await expect(store.read()).rejects.toThrow(StoreUnavailable);
      await expect(store.write([make("a", {})])).rejects.toThrow(StoreUnavailable);
    });
  });
}

const make = (id: string, body: Body): Write => ({ kind: "sandbox", id, body, version: 0 });
const change = (id: string, version: number, body: Body): Write => ({ kind: "sandbox", id, body, version });
const remove = (id: string, version: number): Write => ({
  kind: "sandbox",
  id,
  body: undefined,
  version,
});

const sorted = <T>(map: ReadonlyMap<string, T>): [string, T][] =>
  [...map].sort(([a], [b]) => (a < b ? -1 : 1));

function apply(seen: Map<string, Body>, one: Change): void {
  if ("removed" in one) seen.delete(one.id);
  else seen.set(one.id, one.body);
}

const operation = fc.record({
  id: fc.constantFrom("a", "b", "c", "d", "e"),
  body: fc.option(fc.record({ n: fc.integer(), t: fc.string() }, { noNullPrototype: true }), {
    nil: undefined,
  }),
  stale: fc.integer({ min: 0, max: 7 }).map((one) => one === 0),
});
