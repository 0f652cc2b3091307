import { describe, expect, test } from "vitest";

import { createOwnAddresses } from "../../src/upstream/own-addresses.ts";

const machine = ["127.0.0.1", "10.0.0.5", "::1", "fe80::1"];
const own = (address: string, interfaces = machine) =>
  createOwnAddresses({ listeners: [{ address, port: 3128 }], interfaces: () => interfaces })();

describe("createOwnAddresses", () => {
  test.each([
    ["10.0.0.5", ["10.0.0.5", "0.0.0.0", "::ffff:10.0.0.5"]],
    ["::1", ["::1", "::"]],
    ["0.0.0.0", ["0.0.0.0", "127.0.0.1", "10.0.0.5", "::ffff:127.0.0.1", "::ffff:10.0.0.5"]],
    [
      "::",
      ["::", "0.0.0.0", "127.0.0.1", "10.0.0.5", "::1", "fe80::1", "::ffff:127.0.0.1", "::ffff:10.0.0.5"],
    ],
  ])("%s", (address, addresses) => {
    expect(own(address)).toEqual(addresses.map((one) => ({ address: one, port: 3128 })));
  });

  test("every listener has its own port", () => {
    const listeners = [
      { address: "127.0.0.1", port: 3128 },
      { address: "127.0.0.1", port: 9128 },
    ];
    const ports = createOwnAddresses({ listeners })().map(({ port }) => port);
    expect(new Set(ports)).toEqual(new Set([3128, 9128]));
  });

  test("interfaces are read again at most every five seconds", () => {
    let now = 0;
    let reads = 0;
    const addresses = createOwnAddresses({
      listeners: [{ address: "0.0.0.0", port: 1 }],
      clock: () => now,
      interfaces: () => [`10.0.0.${++reads}`],
    });
    const at = (ms: number) => {
      now = ms;
      return addresses()[1]?.address;
    };
    expect([at(0), at(4_999), at(5_000)]).toEqual(["10.0.0.1", "10.0.0.1", "10.0.0.2"]);
  });

  test("this machine's interfaces are found", () => {
    const addresses = createOwnAddresses({ listeners: [{ address: "0.0.0.0", port: 1 }] })();
    expect(addresses).toContainEqual({ address: "127.0.0.1", port: 1 });
  });
});
