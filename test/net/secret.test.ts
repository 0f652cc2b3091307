import { inspect } from "node:util";
import { pino } from "pino";
import { expect, test } from "vitest";
import { Secret } from "../../src/net/secret.ts";

const secret = new Secret("hunter2hunter2");

test("a secret reveals itself only when asked", () => {
  expect(secret.reveal()).toBe("hunter2hunter2");
});

test.each([
  ["JSON", JSON.stringify({ secret })],
  ["inspect", inspect({ secret }, { showHidden: true, depth: 9 })],
  ["template", `${secret}`],
  ["concatenation", "" + String(secret)],
  ["keys", Object.entries(secret).join()],
])("%s does not print it", (_name, text) => {
  expect(text).not.toContain("hunter2");
});

test("the log does not print it", () => {
  const lines: string[] = [];
  pino({}, { write: (line: string) => void lines.push(line) }).info({ secret }, "hello");
  expect(lines.join("")).toContain('"secret":"[secret]"');
});
