// A store that does not answer lengthens no life and hides no order: what was written holds here, and time counts.

import { expect, test, vi } from "vitest";
import { openSqlite } from "../../src/store/sqlite.ts";
import { type Store, StoreUnavailable } from "../../src/store/types.ts";
import { benchOf, OPERATOR, REGISTRATION, RUNTIME } from "./support.ts";

type Failing = Store & { failing: ReadonlySet<"changes" | "write"> };

/** Does not answer what is named in `failing`. */
function failing(): Failing {
  const store = openSqlite(":memory:");
  const lost = (): never => {
    throw new StoreUnavailable("lost");
  };
  const made: Failing = {
    ...store,
    read: () => store.read(),
    changes: async (after) => (made.failing.has("changes") ? lost() : store.changes(after)),
    write: async (writes) => (made.failing.has("write") ? lost() : store.write(writes)),
    healthy: () => made.failing.size === 0 && store.healthy(),
    failing: new Set(),
  };
  return made;
}

test("a lockdown that was written holds here, though the store is lost right behind it", async () => {
  const store = failing();
  await using bench = await benchOf({ store, onFault: () => {} });
  await bench.control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  store.failing = new Set(["changes"]);
  await bench.control.lockDown(OPERATOR, "a", "incident");
  expect(bench.roster.items.get("a")?.lockdown?.reason).toBe("incident");
  expect(bench.control.sandbox("a")?.lockdown).toBe("incident");
  expect(bench.control.healthy()).toBe(false);
  store.failing = new Set();
  await bench.control.lift(OPERATOR, "a", "over");
  expect(bench.roster.items.get("a")?.lockdown).toBeUndefined();
});

test("time ends, moves and revokes while the store is lost, and it is written once it is back", async () => {
  vi.useFakeTimers();
  try {
    const store = failing();
    await using bench = await benchOf({ store, onFault: () => {} });
    const { control, roster, noted } = bench;
    await control.register(RUNTIME, { ...REGISTRATION, id: "a", ttl: 60_000, setupFor: 10_000 });
    await control.grant(OPERATOR, {
      sandbox: "a",
      host: "one.example",
      methods: "all",
      reason: "x",
      ttl: 20_000,
    });
    const before = noted.length;
    store.failing = new Set(["changes", "write"]);
    await vi.advanceTimersByTimeAsync(10_100);
    expect(roster.items.get("a")?.phase).toBe("agent");
    expect(roster.items.get("a")?.grants).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(roster.items.get("a")?.grants).toEqual([]);
    await vi.advanceTimersByTimeAsync(40_000);
    expect(roster.items.has("a")).toBe(false);
    // Nothing came about that could be recorded as done.
    expect(noted.length).toBe(before);
    store.failing = new Set();
    await vi.advanceTimersByTimeAsync(1_500);
    expect(control.sandbox("a")?.state).toBe("ended");
    expect(noted.slice(before)).toMatchObject([{ action: "sandbox.end", actor: "sallyport" }]);
    expect(control.grants()).toEqual([]);
  } finally {
    vi.useRealTimers();
  }
});

test("more grants than are compiled at once are refused", async () => {
  await using bench = await benchOf();
  await bench.control.register(RUNTIME, { ...REGISTRATION, id: "a" });
  const grant = { sandbox: "a", methods: "all", reason: "x", ttl: 60_000 } as const;
  for (let at = 0; at < 256; at++) await bench.control.grant(OPERATOR, { ...grant, host: `h${at}.example` });
  await expect(bench.control.grant(OPERATOR, { ...grant, host: "more.example" })).rejects.toThrow(/256/);
});
