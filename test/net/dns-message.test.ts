import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../src/net/address.ts";
import {
  type DnsAnswer,
  type DnsQuestion,
  RCODES,
  readQuestion,
  typeName,
  writeAnswer,
  writeFailure,
} from "../../src/net/dns-message.ts";
import { labels, question, readAnswer, u16 } from "../support/dns-messages.ts";

const read = (message: Buffer): DnsQuestion => {
  const result = readQuestion(message);
  if (result.state !== "question") throw new Error(result.state);
  return result.question;
};
const address = (text: string) => parseAddress(text)!;
const ok = (...addresses: string[]): DnsAnswer => ({
  rcode: RCODES.ok,
  addresses: addresses.map(address),
  ttlSeconds: 0x12345,
  error: undefined,
});

test("a question, whole", () => {
  const message = question("Packages.NPMJS.org", { id: 0xbeef, type: 28, edns: { size: 4096 } });
  expect(readQuestion(message)).toEqual({
    state: "question",
    question: {
      id: 0xbeef,
      recursionDesired: true,
      octets: message.subarray(12, 12 + 20 + 4),
      name: "Packages.NPMJS.org",
      host: "packages.npmjs.org",
      type: 28,
      class: 1,
      ednsSize: 4096,
    },
  });
});

const long = (count: number, length: number): string => Array(count).fill("a".repeat(length)).join(".");

describe("names", () => {
  test.each([
    ["", ".", undefined],
    ["localhost", "localhost", "localhost"],
    ["_dmarc.example.org", "_dmarc.example.org", "_dmarc.example.org"],
    [long(3, 63) + "." + "a".repeat(61), undefined, undefined],
    // An address, spelled as labels, is a name that no host has.
    ["10.0.0.1", "10.0.0.1", undefined],
    ["[::1]", "[::1]", undefined],
    ["a b", String.raw`a\032b`, undefined],
    ["\n\x00\x1b[31m.test", String.raw`\010\000\027[31m.test`, undefined],
    ["b\u00fccher.example", String.raw`b\252cher.example`, undefined],
    ["xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"],
    ["-a.example", "-a.example", undefined],
    ["*.example", "*.example", undefined],
  ] as const)("%j", (name, text, host) => {
    const found = read(question(name));
    expect(found.name).toBe(text ?? name);
    if (text !== undefined) expect(found.host).toBe(host);
  });

  test("a dot inside a label is no border", () => {
    const found = read(question(Buffer.from("\x0bgithub\\.com\x00", "latin1")));
    expect(found).toMatchObject({ name: String.raw`github\\\.com`, host: undefined });
    const dotted = read(question(Buffer.from("\x0agithub.com\x00".slice(0, 12), "latin1")));
    expect(dotted).toMatchObject({ name: String.raw`github\.com`, host: undefined });
  });

  test.each([
    ["255 octets", long(3, 63) + "." + "a".repeat(61), "question"],
    ["256 octets", long(3, 63) + "." + "a".repeat(62), "malformed"],
    ["a label of 63", "a".repeat(63), "question"],
  ])("%s", (_, name, state) => {
    expect(readQuestion(question(name)).state).toBe(state);
  });

  test.each([
    ["a pointer to itself", Buffer.from([0xc0, 0x0c])],
    ["a label, then a pointer back", Buffer.from([1, 0x61, 0xc0, 0x0c])],
    ["a pointer beyond the end", Buffer.from([0xc0, 0xff])],
    ["a label of 64", Buffer.from([0x40, ...Array(64).fill(0x61), 0])],
    ["the label type of RFC 2673", Buffer.from([0x41, 1, 0x61, 0])],
    ["no end", Buffer.from([3, 0x61, 0x62, 0x63])],
  ])("%s", (_, name) => {
    expect(readQuestion(question(name)).state).toBe("malformed");
  });
});

describe("what is no plain question", () => {
  const good = question("a.test");
  const bytes = (...values: number[]): Buffer => Buffer.from(values);
  const opt = (...rest: number[]): Buffer => bytes(0, 0, 41, 4, 0, 0, 0, 0, 0, ...rest);
  test.each([
    ["nothing", Buffer.alloc(0), "ignored"],
    ["eleven octets", good.subarray(0, 11), "ignored"],
    ["an answer", question("a.test", { flags: 0x8180 }), "ignored"],
    ["an answer in the guise of an update", question("a.test", { flags: 0xa800 }), "ignored"],
    ["a header alone", good.subarray(0, 12), "malformed"],
    ["no class", good.subarray(0, -1), "malformed"],
    ["an octet more", Buffer.concat([good, bytes(0)]), "malformed"],
    ["no question", question("a.test", { counts: [0, 0, 0, 0] }), "malformed"],
    ["two questions", question("a.test", { counts: [2, 0, 0, 0], trailing: good.subarray(12) }), "malformed"],
    ["65535 questions", question("a.test", { counts: [0xffff, 0, 0, 0] }), "malformed"],
    ["an answer section", question("a.test", { counts: [1, 1, 0, 0] }), "malformed"],
    ["an authority section", question("a.test", { counts: [1, 0, 1, 0] }), "malformed"],
    ["additional that is not there", question("a.test", { counts: [1, 0, 0, 1] }), "malformed"],
    ["two additional", question("a.test", { counts: [1, 0, 0, 2], edns: {} }), "malformed"],
    [
      "a TSIG",
      Buffer.concat([
        question("a.test", { counts: [1, 0, 0, 1] }),
        bytes(0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0),
      ]),
      "malformed",
    ],
    [
      "EDNS of a name",
      Buffer.concat([question("a.test", { counts: [1, 0, 0, 1] }), bytes(1, 0x61), opt(0, 0)]),
      "malformed",
    ],
    ["EDNS 1", question("a.test", { edns: { version: 1 } }), "malformed"],
    [
      "EDNS that claims more",
      Buffer.concat([question("a.test", { counts: [1, 0, 0, 1] }), opt(0, 9)]),
      "malformed",
    ],
    ["EDNS that claims less", question("a.test", { edns: {}, trailing: bytes(0) }), "malformed"],
    ["cut off", question("a.test", { flags: 0x0300 }), "malformed"],
    ["with a code", question("a.test", { flags: 0x0103 }), "malformed"],
    ["a notification", question("a.test", { flags: 0x2000 }), "malformed"],
    ["an update", question("a.test", { flags: 0x2800 }), "malformed"],
    ["1232 octets", question("a.test", { edns: { options: Buffer.alloc(1232 - 12 - 12 - 11) } }), "question"],
    [
      "1233 octets",
      question("a.test", { edns: { options: Buffer.alloc(1233 - 12 - 12 - 11) } }),
      "malformed",
    ],
    ["a cookie", question("a.test", { edns: { options: bytes(0, 10, 0, 2, 1, 2) } }), "question"],
    ["checking disabled, authentic data", question("a.test", { flags: 0x0130 }), "question"],
  ])("%s", (_, message, state) => {
    expect(readQuestion(message).state).toBe(state);
  });

  test("is told so by its header alone, and by nothing where it might go on", () => {
    expect(writeFailure({ id: 0xabcd, opcode: 0 })).toEqual(
      Uint8Array.from(Buffer.concat([u16(0xabcd, 0x8001), Buffer.alloc(8)])),
    );
    expect(writeFailure({ id: 1, opcode: 5 })).toEqual(
      Uint8Array.from(Buffer.concat([u16(1, 0xa804), Buffer.alloc(8)])),
    );
  });
});

describe("answers", () => {
  const write = (asked: Buffer, answer: DnsAnswer, limit = 512) =>
    readAnswer(Buffer.from(writeAnswer(read(asked), answer, limit)));

  test("carry the addresses of the question's family, and the question as it was sent", () => {
    const both = ok("10.0.0.1", "fd00::1", "10.0.0.2");
    const asked = question("rEGistry.npmjs.ORG", { id: 7 });
    expect(write(asked, both)).toEqual({
      id: 7,
      flags: 0x8180,
      rcode: 0,
      question: asked.subarray(12),
      addresses: ["10.0.0.1", "10.0.0.2"],
      ttls: [0x12345, 0x12345],
      error: undefined,
    });
    expect(write(question("a.test", { type: 28 }), both).addresses).toEqual([
      "fd000000000000000000000000000001",
    ]);
    expect(write(question("a.test", { type: 65 }), both)).toMatchObject({ rcode: 0, addresses: [] });
    expect(write(question("a.test", { type: 28 }), ok("10.0.0.1"))).toMatchObject({
      rcode: 0,
      addresses: [],
    });
    expect(write(question("a.test", { flags: 0 }), both).flags).toBe(0x8080);
  });

  test("say why not to whoever speaks EDNS, and only to them", () => {
    const refused = (code: "blocked" | "unsupported"): DnsAnswer => ({
      rcode: RCODES.noName,
      addresses: [],
      ttlSeconds: 5,
      error: { code, text: "host-not-allowed" },
    });
    expect(write(question("a.test", { edns: {} }), refused("blocked"))).toMatchObject({
      rcode: 3,
      error: { code: 15, text: "host-not-allowed" },
    });
    expect(write(question("a.test", { edns: {} }), refused("unsupported")).error?.code).toBe(21);
    expect(write(question("a.test"), refused("blocked"))).toMatchObject({ rcode: 3, error: undefined });
    expect(write(question("a.test", { edns: {} }), ok("10.0.0.1"))).toMatchObject({ error: undefined });
  });

  test("that do not fit are sent empty and marked", () => {
    const eight = ok(...Array.from({ length: 8 }, (_, at) => `fd00::${at + 1}`));
    const asked = question(long(3, 63) + "." + "a".repeat(61), { type: 28 });
    const size = 12 + 259 + 8 * 28;
    expect(write(asked, eight, size)).toMatchObject({ flags: 0x8180 });
    expect(write(asked, eight, size).addresses).toHaveLength(8);
    expect(write(asked, eight, size - 1)).toMatchObject({ flags: 0x8380, addresses: [] });
  });
});

test("types by name", () => {
  expect([1, 16, 65, 255, 252, 65_280].map(typeName)).toEqual([
    "A",
    "TXT",
    "HTTPS",
    "ANY",
    "AXFR",
    "TYPE65280",
  ]);
});

describe("whatever is sent", () => {
  const SEED = 20_261_125;

  test("octets of any kind are read or not, and never throw", () => {
    const message = fc.uint8Array({ maxLength: 1400 });
    const shaped = fc
      .tuple(fc.uint8Array({ minLength: 12, maxLength: 300 }), fc.integer({ min: 0, max: 3 }))
      .map(([octets, count]) => {
        octets.set([0x12, 0x34, 1, 0, 0, count, 0, 0, 0, 0, 0, count & 1]);
        return octets;
      });
    fc.assert(
      fc.property(fc.oneof(message, shaped), (octets) => {
        const found = readQuestion(octets);
        if (found.state !== "question") return;
        const answer = writeAnswer(found.question, ok("10.0.0.1", "fd00::1"), 512);
        expect(answer.length).toBeLessThanOrEqual(octets.length + 28);
        expect(readAnswer(Buffer.from(answer)).question).toEqual(Buffer.from(found.question.octets));
        expect(found.question.name).toMatch(/^[\x21-\x7e]+$/);
      }),
      { seed: SEED, numRuns: 3000 },
    );
  });

  test("one octet of a good question changed", () => {
    const good = question("api.registry.test", {
      edns: { options: Buffer.from([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]) },
    });
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.nat(255), (at, octet) => {
        const changed = Buffer.from(good);
        changed[at] = octet;
        const found = readQuestion(changed);
        if (found.state !== "question") return;
        expect(found.question.name).toMatch(/^[\x21-\x7e]+$/);
        if (found.question.host !== undefined) expect(labels(found.question.host)).toHaveLength(19);
      }),
      { seed: SEED, numRuns: 3000 },
    );
  });

  test("every prefix of a good question", () => {
    const good = question("api.registry.test", { edns: {} });
    for (let end = 0; end < good.length; end++)
      expect(readQuestion(good.subarray(0, end)).state).toBe(end < 12 ? "ignored" : "malformed");
  });
});
