import { expect, test } from "vitest";

import { admit } from "../../src/policy/admit.ts";
import { address, NOW, resolved, snapshotOf, type PolicyText } from "./support.ts";

type Own = readonly { readonly address: string; readonly port: number }[];

function told(policy: PolicyText, target: string, addresses: readonly string[], own: Own = []): string {
  const listeners = own.map((listener) => ({ ...listener, address: address(listener.address) }));
  const admission = admit(snapshotOf(policy), resolved(target, addresses, { own: listeners }));
  return admission.action === "allow"
    ? admission.pinned.join(" ")
    : `deny ${admission.reason} ${admission.rule?.id ?? "-"}`;
}

const PUBLIC = "93.184.215.14";
const networks = (...blocks: string[]): PolicyText => ({ allow: [{ host: "a.test", networks: blocks }] });

test("a refusal, whole", () => {
  expect(admit(snapshotOf({}), resolved("a.test", ["10.0.0.1"]))).toEqual({
    action: "deny",
    reason: "address-private",
    rule: undefined,
    shown: undefined,
  });
});

test.each([
  [PUBLIC, PUBLIC],
  ["2606:4700::1111", "2606:4700::1111"],
  ["127.0.0.1", "deny address-loopback -"],
  ["::1", "deny address-loopback -"],
  ["10.0.0.1", "deny address-private -"],
  ["fd00::1", "deny address-private -"],
  ["169.254.0.1", "deny address-link-local -"],
  ["169.254.169.254", "deny address-metadata -"],
  ["100.64.0.1", "deny address-cgnat -"],
  ["224.0.0.1", "deny address-multicast -"],
  ["0.0.0.0", "deny address-reserved -"],
  ["::ffff:93.184.215.14", "deny address-embedded -"],
  ["64:ff9b::a00:1", "deny address-embedded -"],
])("%s: %s", (one, expected) => {
  expect(told({}, "a.test", [one])).toBe(expected);
});

test("those that pass are pinned, in order; of none the first is told", () => {
  expect(told({}, "a.test", ["10.0.0.1", PUBLIC, "::1", "1.1.1.1"])).toBe(`${PUBLIC} 1.1.1.1`);
  expect(told({}, "a.test", ["10.0.0.1", "127.0.0.1"])).toBe("deny address-private -");
  expect(told({}, "a.test", [])).toBe("deny address-reserved -");
});

test.each<[string, PolicyText, string, string]>([
  ["named", networks("10.0.0.0/8"), "10.1.2.3", "10.1.2.3"],
  ["another network", networks("10.0.0.0/8"), "192.168.0.1", "deny address-private -"],
  [
    "another host's",
    { allow: [{ host: "b.test", networks: ["10.0.0.0/8"] }] },
    "10.1.2.3",
    "deny address-private -",
  ],
  [
    "a deny rule's counts for nothing",
    { deny: [{ host: "a.test", paths: ["/x"], networks: ["10.0.0.0/8"] }] },
    "10.1.2.3",
    "deny address-private -",
  ],
  [
    "for another port",
    { allow: [{ host: "a.test", ports: [80], networks: ["10.0.0.0/8"] }] },
    "10.1.2.3",
    "deny address-private -",
  ],
  [
    "expired",
    { allow: [{ host: "a.test", expires: NOW, networks: ["10.0.0.0/8"] }] },
    "10.1.2.3",
    "deny address-private -",
  ],
  [
    "methods and paths aside",
    { allow: [{ host: "a.test", methods: ["POST"], paths: ["/x"], networks: ["10.0.0.0/8"] }] },
    "10.1.2.3",
    "10.1.2.3",
  ],
  [
    "of several rules, together",
    {
      allow: [
        { host: "a.test", networks: ["192.168.0.0/16"] },
        { host: "**.test", networks: ["10.0.0.0/8"] },
      ],
    },
    "10.1.2.3",
    "10.1.2.3",
  ],
  ["one address", networks("10.1.2.3"), "10.1.2.3", "10.1.2.3"],
  ["report-only lifts nothing", { mode: "report-only" }, "10.1.2.3", "deny address-private -"],
  // Broad networks don't open metadata services: /24 or narrower, /64 for IPv6.
  ["metadata, everything", networks("0.0.0.0/0"), "169.254.169.254", "deny address-metadata -"],
  ["metadata, /23", networks("169.254.168.0/23"), "169.254.169.254", "deny address-metadata -"],
  ["metadata, /24", networks("169.254.169.0/24"), "169.254.169.254", "169.254.169.254"],
  ["metadata v6, /63", networks("fd00:ec2::/63"), "fd00:ec2::254", "deny address-metadata -"],
  ["metadata v6, /64", networks("fd00:ec2::/64"), "fd00:ec2::254", "fd00:ec2::254"],
  // Nor IPv4 inside IPv6, where the IPv4 address is not seen.
  ["embedded, /96", networks("64:ff9b::/96"), "64:ff9b::a9fe:a9fe", "deny address-embedded -"],
  ["embedded, /119", networks("64:ff9b::a9fe:a800/119"), "64:ff9b::a9fe:a9fe", "deny address-embedded -"],
  ["embedded, /120", networks("64:ff9b::a9fe:a900/120"), "64:ff9b::a9fe:a9fe", "64:ff9b::a9fe:a9fe"],
  ["families don't mix", networks("10.0.0.0/8"), "::ffff:10.0.0.1", "deny address-embedded -"],
])("networks: %s", (_, policy, one, expected) => {
  expect(told(policy, "a.test", [one])).toBe(expected);
});

test("a literal's own rule names its network", () => {
  expect(told({ allow: [{ host: "10.1.2.3" }] }, "10.1.2.3", ["10.1.2.3"])).toBe("10.1.2.3");
  expect(told({ allow: [{ host: "10.0.0.0/8" }] }, "10.1.2.3", ["10.1.2.3"])).toBe("10.1.2.3");
  expect(told({ allow: [{ host: "10.0.0.0/8" }] }, "a.test", ["10.1.2.3"])).toBe("deny address-private -");
});

test("a deny rule for a network holds for what names resolve to", () => {
  const policy: PolicyText = {
    ...networks("10.0.0.0/8"),
    deny: [{ host: "93.184.215.0/24", ports: [443] }, { host: "10.6.6.6" }],
  };
  expect(told(policy, "a.test", [PUBLIC])).toBe("deny host-denied deny[0]");
  expect(told(policy, "a.test:80", [PUBLIC])).toBe(PUBLIC);
  expect(told(policy, "a.test", ["10.6.6.6", "10.6.6.7"])).toBe("10.6.6.7");
  expect(told({ deny: [{ host: PUBLIC, methods: ["POST"] }] }, "a.test", [PUBLIC])).toBe(PUBLIC);
  expect(told({ deny: [{ host: PUBLIC, expires: NOW }] }, "a.test", [PUBLIC])).toBe(PUBLIC);
});

test.each([
  ["a.test:3128", "127.0.0.1", "deny address-own -"],
  ["a.test:3129", "127.0.0.1", "127.0.0.1"],
  // All of 127/8, the unspecified address and mapped ones arrive at a loopback listener too.
  ["a.test:3128", "127.9.9.9", "deny address-own -"],
  ["a.test:3128", "0.0.0.0", "deny address-own -"],
  ["a.test:3128", "::ffff:127.0.0.1", "deny address-own -"],
  ["a.test:9128", "10.0.0.5", "deny address-own -"],
  ["a.test:9128", "10.0.0.6", "10.0.0.6"],
  ["a.test:9128", "127.0.0.1", "127.0.0.1"],
  ["a.test:8080", PUBLIC, "deny address-own -"],
])("invariant 8: %s at %s: %s", (target, one, expected) => {
  const policy = networks("0.0.0.0/0", "::ffff:127.0.0.1/128");
  const own: Own = [
    { address: "127.0.0.1", port: 3128 },
    { address: "10.0.0.5", port: 9128 },
    { address: PUBLIC, port: 8080 },
  ];
  expect(told(policy, target, [one], own)).toBe(expected);
});

test("absence denies", () => {
  expect(admit(snapshotOf(networks("10.0.0.0/8")), resolved("a.test", [PUBLIC], { policy: "gone" }))).toEqual(
    {
      action: "deny",
      reason: "host-not-allowed",
      rule: undefined,
      shown: undefined,
    },
  );
});
