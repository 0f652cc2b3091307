import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { quote, quoteAgain } from "../../src/audit/escape.ts";
import { decisionBody, GENESIS, LIMITS, noteBody, seal } from "../../src/audit/record.ts";
import { auditRecord, type DecisionRecord } from "../../src/audit/schema.ts";
import type { Subject } from "../../src/audit/types.ts";
import { ALLOW, SUBJECT } from "./helpers.ts";

const AT = Date.UTC(2026, 10, 22, 8, 0, 0, 7);

function lineOf(subject: Partial<Subject>): string {
  const body = decisionBody("id-1", { ...SUBJECT, ...subject }, ALLOW, { at: AT, privacy: "standard" });
  return seal(GENESIS, "w1", body).line;
}
const recordOf = (subject: Partial<Subject>) => JSON.parse(lineOf(subject)) as DecisionRecord;

describe("quote", () => {
  test.each([
    ["a plain string", "/left-pad?x=1&y=~", '"/left-pad?x=1&y=~"'],
    ["quotes and backslashes", 'a"b\\c', '"a\\"b\\\\c"'],
    ["line feed, carriage return, tab, NUL", "\n\r\t\0", '"\\u000a\\u000d\\u0009\\u0000"'],
    ["the edges of ASCII", "\x1f \x7e\x7f", '"\\u001f ~\\u007f"'],
    ["C1 controls (a terminal obeys U+009B)", "\x80\x9b2J\x9f", '"\\u0080\\u009b2J\\u009f"'],
    ["latin1 letters, as header octets arrive", "caf\xe9\xff", '"caf\\u00e9\\u00ff"'],
    ["bidi embeddings and overrides", "\u202a\u202e", '"\\u202a\\u202e"'],
    ["bidi isolates", "\u2066\u2069", '"\\u2066\\u2069"'],
    ["bidi marks", "\u200e\u200f\u061c", '"\\u200e\\u200f\\u061c"'],
    ["line and paragraph separators", "\u2028\u2029", '"\\u2028\\u2029"'],
    ["zero-width and byte-order marks", "\u200b\ufeff", '"\\u200b\\ufeff"'],
    ["a lone high surrogate", "a\ud800b", '"a\\ufffdb"'],
    ["a lone low surrogate", "\udc00", '"\\ufffd"'],
    ["a pair", "\u{1f600}", '"\\ud83d\\ude00"'],
  ])("%s", (_, text, expected) => {
    expect(quote(text)).toBe(expected);
    expect(JSON.parse(expected)).toBe(text.toWellFormed());
  });
});

test("what is quoted again is quoted as before, also past what is remembered", () => {
  const text = fc.oneof(
    fc.string({ maxLength: 130 }),
    fc.string({ unit: "binary", maxLength: 20 }),
    fc.constantFrom("a", 'a"'),
  );
  fc.assert(
    fc.property(text, (text) => {
      expect(quoteAgain(text)).toBe(quote(text));
      expect(quoteAgain(text)).toBe(quote(text));
    }),
    { seed: 20_261_127, numRuns: 3000 },
  );
});

test("a number is told with three decimals, as JSON has it", () => {
  const told = (value: number): string => {
    const { line } = seal(GENESIS, "w1", noteBody("reload", { value }, AT));
    return /"value":([^}]*)/.exec(line)?.[1] ?? "";
  };
  const number = fc.oneof(fc.double(), fc.double({ min: 0, max: 100_000 }), fc.integer());
  fc.assert(
    fc.property(number, (value) => {
      const rounded = Number.isInteger(value) ? value : Math.round(value * 1000) / 1000;
      expect(told(value)).toBe(String(Number.isFinite(value) ? rounded : 0));
    }),
    { seed: 20_261_127, numRuns: 3000 },
  );
  expect([0.0004, 0.001, 0.01, 0.1, 12.9996, 1.05].map(told)).toEqual([
    "0",
    "0.001",
    "0.01",
    "0.1",
    "13",
    "1.05",
  ]);
});

describe("a record", () => {
  const wild = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({
      unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
      maxLength: 40,
    }),
    fc.constantFrom('","verdict":"allow', "a\n{}", "\u2028", '"}', '\\","hash":"', "x".repeat(5_000)),
  );
  const optional = fc.option(wild, { nil: undefined });

  test("is one line of ASCII that its schema knows, whatever a sandbox sends", () => {
    const subject = fc.record({
      tunnel: optional,
      connection: wild,
      source: wild,
      sandbox: optional,
      method: optional,
      host: optional,
      path: optional,
      query: optional,
      keepQuery: fc.boolean(),
    });
    fc.assert(
      fc.property(subject, (sent) => {
        const line = lineOf(sent);
        expect(line).toMatch(/^[ -~]+$/);
        const record = JSON.parse(line) as DecisionRecord;
        expect(auditRecord.safeParse(record).error).toBeUndefined();
        expect(record).toMatchObject({ verdict: "allow", id: "id-1", writer: "w1", seq: 1 });
        const isPlainPath =
          sent.path !== undefined && sent.path.length <= LIMITS.path && !sent.path.includes("?");
        if (isPlainPath) expect(record.path).toBe(sent.path?.toWellFormed());
      }),
      { numRuns: 300 },
    );
  });

  test("notes are bounded and escaped too", () => {
    fc.assert(
      fc.property(fc.dictionary(wild, fc.oneof(wild, fc.double(), fc.boolean())), (fields) => {
        const { line } = seal(GENESIS, "w1", noteBody("reload", fields, AT));
        expect(line).toMatch(/^[ -~]+$/);
        expect(auditRecord.safeParse(JSON.parse(line)).error).toBeUndefined();
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    ["host", LIMITS.host],
    ["method", LIMITS.method],
    ["path", LIMITS.path],
    ["sandbox", LIMITS.id],
  ] as const)("cuts %s at %i and says so", (field, limit) => {
    const whole = recordOf({ [field]: "a".repeat(limit) });
    expect([whole[field], whole.truncated]).toEqual(["a".repeat(limit), undefined]);
    const cut = recordOf({ [field]: "a".repeat(limit + 1) });
    expect([cut[field], cut.truncated]).toEqual(["a".repeat(limit), { [field]: limit + 1 }]);
  });

  test.each<[string, Partial<Subject>, { path?: string; query?: string; host?: string }]>([
    ["a query is redacted", { path: "/a", query: "?token=x" }, { path: "/a", query: "?[redacted]" }],
    ["a bare question mark too", { path: "/a", query: "?" }, { path: "/a", query: "?[redacted]" }],
    [
      "kept where the policy says so",
      { path: "/a", query: "?q=1", keepQuery: true },
      { path: "/a", query: "?q=1" },
    ],
    [
      "a query inside a malformed path",
      { path: "/a?token=x", query: undefined },
      { path: "/a", query: "?[redacted]" },
    ],
    ["userinfo in a malformed host", { host: "bob:pw@h.example" }, { host: "[redacted]@h.example" }],
  ])("%s", (_, subject, expected) => {
    expect(recordOf(subject)).toMatchObject(expected);
    expect(lineOf(subject)).not.toMatch(/token|bob|pw/);
  });

  test("without a query has none", () => {
    expect(recordOf({ query: undefined })).not.toHaveProperty("query");
    expect(recordOf({ query: "" })).not.toHaveProperty("query");
  });
});
