import { expect, test } from "vitest";

import { parseAuthority } from "../../src/net/authority.ts";
import { parseHost } from "../../src/net/host.ts";
import { admitName, admitParent } from "../../src/policy/parent.ts";
import { address, snapshotOf } from "./support.ts";

const authority = (text: string) => parseAuthority(text)!;

test.each([
  ["93.184.215.14", true],
  ["10.0.0.1", true],
  ["192.168.0.1", true],
  ["100.64.0.1", true],
  ["169.254.0.1", true],
  ["127.0.0.1", true],
  ["::1", true],
  ["fd00::1", true],
  ["2606:4700::1111", true],
  // Nobody's proxy.
  ["169.254.169.254", false],
  ["168.63.129.16", false],
  ["fd00:ec2::254", false],
  ["224.0.0.1", false],
  ["255.255.255.255", false],
  ["0.0.0.0", false],
  ["::", false],
  ["::ffff:10.0.0.1", false],
  ["64:ff9b::a9fe:a9fe", false],
])("a parent at %s: %s", (text, admitted) => {
  const one = address(text);
  expect(admitParent(authority("proxy.test:8080"), [one], [])).toEqual(admitted ? [one] : []);
});

test("a parent is never this proxy itself; what is left may be dialed, in order", () => {
  const own = [
    { address: address("127.0.0.1"), port: 3128 },
    { address: address("10.0.0.1"), port: 3128 },
  ];
  const all = ["127.0.0.1", "10.0.0.2", "::1", "10.0.0.1"].map(address);
  expect(admitParent(authority("proxy.test:3128"), all, own)).toEqual(["10.0.0.2"]);
  expect(admitParent(authority("proxy.test:3129"), all, own)).toEqual(all);
});

test.each([
  ["origin.test", undefined],
  ["metadata.example.com", undefined],
  ["my-metadata", undefined],
  ["localhost.example.com", undefined],
  ["localhost", "address-loopback"],
  ["a.b.localhost", "address-loopback"],
  ["localhost.localdomain", "address-loopback"],
  ["ip6-localhost", "address-loopback"],
  ["metadata.google.internal", "address-metadata"],
  ["x.metadata.google.internal", "address-metadata"],
  ["metadata", "address-metadata"],
  ["instance-data.ec2.internal", "address-metadata"],
  ["169.254.169.254", "address-literal"],
  ["93.184.215.14", "address-literal"],
  ["[::1]", "address-literal"],
])("a name that only the parent resolves: %s", (text, reason) => {
  const target = { host: parseHost(text)!, port: 443 };
  const verdict = admitName(snapshotOf({}), { policy: "default", target });
  expect(verdict).toEqual(
    reason === undefined
      ? { action: "allow", pinned: [] }
      : { action: "deny", reason, rule: undefined, shown: undefined },
  );
});

test("no policy, no name", () => {
  const facts = { policy: "gone", target: authority("origin.test:443") };
  expect(admitName(snapshotOf({}), facts)).toMatchObject({ action: "deny", reason: "host-not-allowed" });
});
