import { describe, expect, test } from "vitest";
import { readGreeting, readSocks5Request, readUserPassword } from "../../src/net/socks5.ts";
import { socks5Request, userPassword } from "../support/ways/socks5.ts";

type Parse = (bytes: Buffer) => { readonly state: string };

/** What is said of the whole is said of no prefix but "incomplete"; what follows changes nothing. */
function everySplit(parse: Parse, whole: Buffer): void {
  const said = parse(whole);
  expect(said).toMatchObject({ state: "complete", octets: whole.length });
  for (let at = 0; at < whole.length; at++)
    expect(parse(whole.subarray(0, at)), `${at} octets`).toEqual({ state: "incomplete" });
  expect(parse(Buffer.concat([whole, Buffer.from([5, 1, 0, 22, 3])]))).toEqual(said);
}

/** Malformed is said at an octet, and of everything from there on. */
function malformed(parse: Parse, bytes: readonly number[]): void {
  const whole = Buffer.from(bytes);
  const states = Array.from({ length: whole.length + 1 }, (_, at) => parse(whole.subarray(0, at)).state);
  const first = states.indexOf("malformed");
  expect(first).toBeGreaterThan(0);
  expect(new Set(states.slice(0, first))).toEqual(new Set(["incomplete"]));
  expect(new Set(states.slice(first))).toEqual(new Set(["malformed"]));
}

describe("greeting", () => {
  test("its methods, cut at every octet", () => {
    everySplit(readGreeting, Buffer.from([5, 3, 0, 1, 2]));
    expect(readGreeting(Buffer.from([5, 2, 0, 2]))).toEqual({
      state: "complete",
      message: { methods: new Set([0, 2]) },
      octets: 4,
    });
  });

  test.each([[[4, 1, 0]], [[5, 0]], [[0x16, 3, 1]]])("%j is none", (bytes) => malformed(readGreeting, bytes));
});

describe("user and password", () => {
  test.each([
    ["ci-runner", "secret"],
    ["", ""],
    ["u".repeat(255), "\xff".repeat(255)],
    ["a:b", "c"],
  ])("%j %j", (user, password) => {
    const bytes = userPassword(user, password);
    everySplit(readUserPassword, bytes);
    expect(readUserPassword(bytes)).toMatchObject({ message: { user, password } });
  });

  test("another version", () => malformed(readUserPassword, [5, 1, 97, 1, 98]));
});

describe("request", () => {
  test.each([
    ["origin.test", "origin.test:443"],
    ["192.0.2.1", "192.0.2.1:443"],
    ["[2001:db8::1]", "[2001:db8::1]:443"],
    ["[::]", "[::]:443"],
    // For the parser of authorities to refuse.
    ["a b", "a b:443"],
    ["x".repeat(255), `${"x".repeat(255)}:443`],
  ])("%s", (host, authority) => {
    const bytes = socks5Request(host, 443);
    everySplit(readSocks5Request, bytes);
    expect(readSocks5Request(bytes)).toMatchObject({ message: { command: "connect", authority } });
  });

  test.each([
    [1, "connect"],
    [2, "bind"],
    [3, "udp-associate"],
  ])("command %i is %s", (code, command) => {
    expect(readSocks5Request(socks5Request("a.test", 1, code))).toMatchObject({ message: { command } });
  });

  test.each([
    ["another version", [4, 1, 0, 1, 1, 2, 3, 4, 0, 80]],
    ["no such command", [5, 0, 0, 1, 1, 2, 3, 4, 0, 80]],
    ["no such command", [5, 4, 0, 1, 1, 2, 3, 4, 0, 80]],
    ["reserved octet set", [5, 1, 1, 1, 1, 2, 3, 4, 0, 80]],
    ["no such kind of address", [5, 1, 0, 2, 1, 2, 3, 4, 0, 80]],
    ["an empty name", [5, 1, 0, 3, 0, 0, 80]],
  ])("%s", (_, bytes) => malformed(readSocks5Request, bytes));
});
