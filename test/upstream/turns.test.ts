import { expect, test } from "vitest";

import { createTurns } from "../../src/upstream/turns.ts";

function setUp(options: Parameters<typeof createTurns>[0]) {
  const turns = createTurns(options);
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const task = (name: string) => ({
    run: () => {
      started.push(name);
      return new Promise<void>((resolve) => ends.set(name, resolve));
    },
  });
  const end = async (name: string) => {
    ends.get(name)?.();
    await new Promise(setImmediate);
  };
  return { turns, started, task, end };
}

test("one asker holds no more than its share, and askers take turns", async () => {
  const { turns, started, task, end } = setUp({ concurrency: 3, share: 2, queue: 10 });
  for (const name of ["a1", "a2", "a3", "a4"]) turns.add("a", task(name));
  expect(started).toEqual(["a1", "a2"]);
  for (const name of ["b1", "b2", "b3"]) turns.add("b", task(name));
  expect(started).toEqual(["a1", "a2", "b1"]);
  turns.add("c", task("c1"));
  await end("a1");
  await end("a2");
  await end("b1");
  expect(started).toEqual(["a1", "a2", "b1", "a3", "b2", "c1"]);
});

test("a queue has an end; waiting twice takes one place", () => {
  const { turns, started, task } = setUp({ concurrency: 1, share: 1, queue: 2 });
  const [second, third] = [task("2"), task("3")];
  expect([task("1"), second, third, second, task("4")].map((one) => turns.add("a", one))).toEqual([
    true,
    true,
    true,
    true,
    false,
  ]);
  expect(started).toEqual(["1"]);
});

test("a task in several queues runs once, at the first turn", async () => {
  const { turns, started, task, end } = setUp({ concurrency: 1, share: 1, queue: 10 });
  const shared = task("shared");
  for (const name of ["1", "2", "3"]) turns.add("a", task(name));
  turns.add("a", shared);
  turns.add("b", shared);
  await end("1");
  await end("2");
  await end("shared");
  await end("3");
  expect(started).toEqual(["1", "2", "shared", "3"]);
});

test("a dropped task never runs", async () => {
  const { turns, started, task, end } = setUp({ concurrency: 1, share: 1, queue: 10 });
  const dropped = task("dropped");
  turns.add("a", task("1"));
  turns.add("a", dropped);
  turns.drop(dropped);
  turns.add("a", task("2"));
  await end("1");
  expect(started).toEqual(["1", "2"]);
});
