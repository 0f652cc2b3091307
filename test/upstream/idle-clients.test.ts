import { afterEach, expect, test, vi } from "vitest";
import type { Http1Client } from "../../src/upstream/http1-client.ts";
import { IdleClients } from "../../src/upstream/idle-clients.ts";

afterEach(() => {
  vi.useRealTimers();
});

type Fake = { usable: boolean; readonly abort: ReturnType<typeof vi.fn<() => void>> };
const fake = (usable = true): Fake & Http1Client =>
  ({ usable, abort: vi.fn<() => void>() }) as unknown as Fake & Http1Client;
const idleClients = (): IdleClients => new IdleClients({ perOrigin: 2, idleMs: 5_000 });

test("gives out the one kept last, once, and only under its key", () => {
  const idle = idleClients();
  const [first, second] = [fake(), fake()];
  idle.keep(first, "a");
  idle.keep(second, "a");
  expect([idle.take("b"), idle.take("a"), idle.take("a"), idle.take("a")]).toEqual([
    undefined,
    second,
    first,
    undefined,
  ]);
  idle.close();
});

test("keeps no more than the bound for one key", () => {
  const idle = idleClients();
  const surplus = fake();
  for (const client of [fake(), fake(), surplus]) idle.keep(client, "a");
  expect(surplus.abort).toHaveBeenCalledOnce();
  idle.close();
});

test("gives out none that said something, or waited too long", () => {
  vi.useFakeTimers();
  const idle = idleClients();
  const [old, spoilt] = [fake(), fake(false)];
  idle.keep(old, "a");
  vi.advanceTimersByTime(4_999);
  expect(old.abort).not.toHaveBeenCalled();
  idle.keep(spoilt, "a");
  vi.advanceTimersByTime(1);
  expect(idle.take("a")).toBeUndefined();
  for (const { abort } of [old, spoilt]) expect(abort).toHaveBeenCalled();
  idle.close();
});

test("sweeps what waited too long", () => {
  vi.useFakeTimers();
  const idle = idleClients();
  const old = fake();
  idle.keep(old, "a");
  vi.advanceTimersByTime(6_000);
  expect(old.abort).toHaveBeenCalled();
  idle.close();
});

test("the oldest is of the key kept first, whatever has been given out since", () => {
  const idle = idleClients();
  const [first, second] = [fake(), fake()];
  idle.keep(first, "a");
  idle.keep(second, "b");
  expect(idle.oldest()).toMatchObject({ client: first, key: "a" });
  expect(idle.take("a")).toBe(first);
  expect(idle.oldest()).toMatchObject({ client: second, key: "b" });
  idle.drop(second, "b");
  expect(idle.oldest()).toBeUndefined();
  idle.close();
});

test("closed, it keeps nothing", () => {
  const idle = idleClients();
  const [before, after] = [fake(), fake()];
  idle.keep(before, "a");
  idle.close();
  idle.keep(after, "a");
  expect([before.abort, after.abort].map(({ mock }) => mock.calls.length)).toEqual([1, 1]);
});
