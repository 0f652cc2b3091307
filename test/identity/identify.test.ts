import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createIdentifier, type SandboxEntry } from "../../src/identity/identify.ts";
import { Secret } from "../../src/net/secret.ts";

const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;
const entry = (id: string, secret: string, phase: "setup" | "agent" = "agent"): SandboxEntry => ({
  id,
  secret: new Secret(secret),
  policies: { setup: `${id}-setup`, agent: `${id}-agent` },
  phase,
});
const runner = entry("ci-runner", "correct horse");
const builder = entry("builder", "battery:staple", "setup");

const missing = { ok: false, reason: "credentials-missing" };
const wrong = { ok: false, reason: "credentials-wrong" };
const asRunner = { ok: true, sandbox: { id: "ci-runner", phase: "agent", policy: "ci-runner-agent" } };
const asAnonymous = { ok: true, sandbox: { id: undefined, phase: "agent", policy: "default" } };

test("where the listener says who is asking, nothing else does", () => {
  const identifier = createIdentifier({ sandboxes: [runner], anonymous: "default" });
  expect(identifier.placed({ listener: "ci-runner" })).toEqual(asRunner);
  expect(identifier.placed({ listener: "builder" })).toEqual(wrong);
  expect(identifier.placed({})).toEqual(asAnonymous);
  expect(createIdentifier({ sandboxes: [runner] }).placed({})).toEqual(missing);
});

describe("who is let in", () => {
  const none: string[] = [];
  const right = ["Proxy-Authorization", basic("ci-runner:correct horse")];
  const off = ["Proxy-Authorization", basic("ci-runner:correct hors")];
  const empty = ["Proxy-Authorization", ""];
  test.each([
    { sandboxes: [runner], anonymous: undefined, headers: none, expected: missing },
    { sandboxes: [runner], anonymous: undefined, headers: empty, expected: wrong },
    { sandboxes: [runner], anonymous: undefined, headers: off, expected: wrong },
    { sandboxes: [runner], anonymous: undefined, headers: right, expected: asRunner },
    { sandboxes: [runner], anonymous: "default", headers: none, expected: asAnonymous },
    { sandboxes: [runner], anonymous: "default", headers: empty, expected: wrong },
    { sandboxes: [runner], anonymous: "default", headers: off, expected: wrong },
    { sandboxes: [runner], anonymous: "default", headers: right, expected: asRunner },
    { sandboxes: [], anonymous: "default", headers: none, expected: asAnonymous },
    { sandboxes: [], anonymous: "default", headers: right, expected: wrong },
    { sandboxes: [], anonymous: undefined, headers: none, expected: missing },
    { sandboxes: [], anonymous: undefined, headers: right, expected: wrong },
  ])(
    "$sandboxes.length sandboxes, anonymous $anonymous, $headers",
    ({ sandboxes, anonymous, headers, expected }) => {
      expect(createIdentifier({ sandboxes, anonymous }).identify(headers)).toEqual(expected);
    },
  );

  test.each<[string, string[] | undefined, string[], object]>([
    ["shown", ["URI:spiffe://corp/ci"], none, asRunner],
    ["among others", ["DNS:x.test", "URI:spiffe://corp/ci"], none, asRunner],
    ["and the same sandbox's credentials", ["URI:spiffe://corp/ci"], right, asRunner],
    ["and wrong ones", ["URI:spiffe://corp/ci"], off, wrong],
    ["and another's", ["DNS:builder.test"], right, wrong],
    ["of nobody", ["URI:spiffe://corp/c"], none, wrong],
    ["of nobody, and right credentials", ["URI:spiffe://corp/c"], right, wrong],
    ["without names", [], none, wrong],
    ["of two", ["URI:spiffe://corp/ci", "DNS:builder.test"], none, wrong],
    ["none", undefined, none, asAnonymous],
  ])("a client certificate: %s", (_, certificate, headers, expected) => {
    const identifier = createIdentifier({
      sandboxes: [
        { ...runner, certificate: "URI:spiffe://corp/ci" },
        { ...builder, certificate: "DNS:builder.test", secret: undefined },
      ],
      anonymous: "default",
    });
    expect(identifier.identify(headers, certificate)).toEqual(expected);
    expect(identifier.identify(["Proxy-Authorization", basic("builder:battery:staple")])).toEqual(wrong);
  });

  test("a reload that changes the secret ends the old one; one that doesn't, does not", () => {
    const before = createIdentifier({ sandboxes: [runner] });
    const unchanged = createIdentifier({ sandboxes: [runner] });
    const changed = createIdentifier({ sandboxes: [entry("ci-runner", "another one")] });
    const removed = createIdentifier({ sandboxes: [builder] });
    expect([before, unchanged, changed, removed].map((i) => i.identify(right))).toEqual([
      asRunner,
      asRunner,
      wrong,
      wrong,
    ]);
  });

  test("each sandbox has the policy of its phase", () => {
    const identifier = createIdentifier({ sandboxes: [runner, builder] });
    const headers = ["proxy-authorization", basic("builder:battery:staple")];
    expect(identifier.identify(headers)).toEqual({
      ok: true,
      sandbox: { id: "builder", phase: "setup", policy: "builder-setup" },
    });
  });

  test("one sandbox's secret is no other's", () => {
    const identifier = createIdentifier({ sandboxes: [runner, builder] });
    expect(identifier.identify(["Proxy-Authorization", basic("builder:correct horse")])).toEqual(wrong);
    expect(identifier.identify(["Proxy-Authorization", basic("ci-runner:battery:staple")])).toEqual(wrong);
  });

  test("ids are unique", () => {
    expect(() => createIdentifier({ sandboxes: [runner, runner] })).toThrow(
      'two sandboxes have the id "ci-runner"',
    );
  });
});

describe("how credentials are spelled (RFC 7617, RFC 4648 §4)", () => {
  const token = Buffer.from("ci-runner:correct horse").toString("base64");
  const identifier = createIdentifier({ sandboxes: [runner, entry("b", "12345678")], anonymous: "default" });

  test.each([`Basic ${token}`, `basic ${token}`, `BASIC ${token}`, `Basic   ${token}`])(
    "%j is right",
    (field) => {
      expect(identifier.identify(["Proxy-Authorization", field])).toEqual(asRunner);
    },
  );

  test.each([
    token,
    `Bearer ${token}`,
    `Basic${token}`,
    `Basic\t${token}`,
    ` Basic ${token}`,
    `Basic ${token} `,
    `Basic ${token},`,
    `Basic ${token}, Basic ${token}`,
    `Basic realm="x", ${token}`,
    `Basic ${token}=`,
    `Basic ${token.slice(0, 4)} ${token.slice(4)}`,
    `Basic ${token}\n`,
    "Basic ",
    "Basic ====",
    "Basic Og==",
    basic("ci-runner"),
    basic("ci-runner:"),
    basic(":correct horse"),
    basic("CI-runner:correct horse"),
    basic("ci-runner :correct horse"),
    basic("ci-runner:correct horse\0"),
    basic("ci-runner\0x:correct horse"),
    basic(`ci-runner:${"x".repeat(10_000)}`),
    // The second digit from the end carries two stray bits: "b:12345678" is YjoxMjM0NTY3OA==.
    "Basic YjoxMjM0NTY3OB==",
    "Basic YjoxMjM0NTY3OA",
    "Basic YjoxMjM0NTY3OA=",
    // base64url and percent-encoding are other alphabets.
    "Basic Yjo-Mj_0",
    "Basic ci-runner:correct%20horse",
  ])("%j is wrong", (field) => {
    expect(identifier.identify(["Proxy-Authorization", field])).toEqual(wrong);
  });

  test("one field only, even twice the same", () => {
    expect(
      identifier.identify([
        "Proxy-Authorization",
        basic("ci-runner:correct horse"),
        "proxy-authorization",
        basic("ci-runner:correct horse"),
      ]),
    ).toEqual(wrong);
  });

  test("Authorization is for origins", () => {
    expect(identifier.identify(["Authorization", basic("ci-runner:correct horse")])).toEqual(asAnonymous);
  });

  test("secrets are octets, beyond ASCII too", () => {
    const other = createIdentifier({ sandboxes: [entry("é", "пароль🔑")] });
    expect(other.identify(["Proxy-Authorization", basic("é:пароль🔑")]).ok).toBe(true);
    const latin1 = `Basic ${Buffer.from("é:password", "latin1").toString("base64")}`;
    expect(other.identify(["Proxy-Authorization", latin1])).toEqual(wrong);
  });

  test("only the configured pair passes", () => {
    const noColon = fc.string({ minLength: 1, maxLength: 20 }).filter((id) => !id.includes(":"));
    const pair = fc.record({ id: noColon, secret: fc.string({ minLength: 1, maxLength: 20 }) });
    fc.assert(
      fc.property(pair, pair, (kept, given) => {
        const result = createIdentifier({ sandboxes: [entry(kept.id, kept.secret)] }).identify([
          "Proxy-Authorization",
          basic(`${given.id}:${given.secret}`),
        ]);
        // Lone surrogates have no octets of their own.
        const octets = (text: string) => Buffer.from(text).toString("hex");
        return (
          result.ok === (octets(kept.id) === octets(given.id) && octets(kept.secret) === octets(given.secret))
        );
      }),
      { numRuns: 200 },
    );
  });
});

test("what is kept does not print the secrets", () => {
  const identifier = createIdentifier({ sandboxes: [runner] });
  expect(
    JSON.stringify([
      identifier,
      identifier.identify(["Proxy-Authorization", basic("ci-runner:correct horse")]),
    ]),
  ).not.toContain("horse");
});
