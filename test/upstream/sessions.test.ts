import { expect, test } from "vitest";

import { createSessions } from "../../src/upstream/sessions.ts";

const session = (text: string, until = Infinity) => ({ ticket: Buffer.from(text), until });

test("the newest session is kept until it is dropped", () => {
  const sessions = createSessions();
  sessions.put("a", session("1"));
  sessions.put("a", session("2"));
  expect([sessions.get("a"), sessions.get("a"), sessions.get("b")]).toEqual([
    session("2"),
    session("2"),
    undefined,
  ]);
  sessions.drop("a");
  expect(sessions.get("a")).toBeUndefined();
});

test("the one that was used least recently gives way", () => {
  const sessions = createSessions({ max: 2 });
  for (const key of ["a", "b"]) sessions.put(key, session(key));
  sessions.get("a");
  sessions.put("c", session("c"));
  expect(["a", "b", "c"].map((key) => sessions.get(key)?.ticket.toString())).toEqual(["a", undefined, "c"]);
});

test("nothing is resumed once what verified it has run out", () => {
  let now = 999;
  const sessions = createSessions({ clock: () => now });
  sessions.put("a", session("1", 1000));
  expect(sessions.get("a")).toBeDefined();
  now = 1000;
  expect(sessions.get("a")).toBeUndefined();
});
