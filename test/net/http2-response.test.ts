import { describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { octetsOf } from "../../src/net/http2-fields.ts";
import { checkAnswerFields, readResponse, requestPairs } from "../../src/net/http2-response.ts";
import type { BodyLength } from "../../src/net/message.ts";

const limits = { headOctets: 1_000, headFields: 4, targetOctets: 100 };
const none: BodyLength = { kind: "none" };

function reasonOf(act: () => unknown): string {
  try {
    act();
    return "none";
  } catch (fault) {
    return fault instanceof ProxyFault ? fault.reason : String(fault);
  }
}

describe("requests", () => {
  const request = {
    method: "GET",
    scheme: "https",
    target: "/a?b",
    headers: [],
    length: none,
    trailers: false,
  } as const;

  test("Host becomes :authority; names are in lower case, values as they are, order kept", () => {
    const headers = ["Host", "origin.test:8443", "X-B", "Two", "x-a", "One", "X-B", "Three"];
    expect(requestPairs({ ...request, headers })).toEqual([
      ":method",
      "GET",
      ":scheme",
      "https",
      ":authority",
      "origin.test:8443",
      ":path",
      "/a?b",
      "x-b",
      "Two",
      "x-a",
      "One",
      "x-b",
      "Three",
    ]);
  });

  test.each<[string, BodyLength, boolean, string[]]>([
    ["GET", none, false, []],
    ["GET", none, true, ["te", "trailers"]],
    ["POST", none, false, ["content-length", "0"]],
    ["PUT", none, false, ["content-length", "0"]],
    ["PATCH", none, false, ["content-length", "0"]],
    ["DELETE", none, false, []],
    ["POST", { kind: "known", octets: 7 }, false, ["content-length", "7"]],
    ["POST", { kind: "chunked" }, true, ["te", "trailers"]],
  ])("%s with a body %o, trailers %s: %j", (method, length, trailers, fields) => {
    expect(requestPairs({ ...request, method, length, trailers }).slice(8)).toEqual(fields);
  });
});

describe("answers", () => {
  const read = (pairs: string[], method = "GET", ended = false): unknown =>
    readResponse(pairs, limits, { method, ended });

  const five: BodyLength = { kind: "known", octets: 5 };
  const zero: BodyLength = { kind: "known", octets: 0 };
  const unsaid: BodyLength = { kind: "chunked" };
  const ok = [":status", "200"];
  const stated = [...ok, "content-length", "5"];
  const unmodified = [":status", "304", "content-length", "5"];

  type Read = { readonly pairs: string[]; readonly method?: string; readonly ended?: boolean };
  test.each<[string, Read, BodyLength, BodyLength]>([
    ["no length", { pairs: ok }, unsaid, unsaid],
    ["no length, and ended", { pairs: ok, ended: true }, zero, zero],
    ["a length", { pairs: stated }, five, five],
    ["a length of nothing, and ended", { pairs: [...ok, "content-length", "0"], ended: true }, zero, zero],
    ["HEAD", { pairs: ok, method: "HEAD", ended: true }, none, none],
    ["HEAD with a length", { pairs: stated, method: "HEAD", ended: true }, five, none],
    ["204", { pairs: [":status", "204"], ended: true }, none, none],
    ["304 with a length", { pairs: unmodified, ended: true }, five, none],
    ["interim", { pairs: [":status", "103"] }, none, none],
    ["the last status", { pairs: [":status", "599"] }, unsaid, unsaid],
  ])("%s", (_name, { pairs, method, ended }, declared, length) => {
    const head = { status: Number(pairs[1]), reason: "", headers: pairs.slice(2) };
    expect(read(pairs, method, ended)).toEqual({ head, declared, length });
  });

  test.each<[string, string[], boolean]>([
    ["nothing", [], false],
    ["no status", ["x", "y"], false],
    ["a status that is not first", ["x", "y", ":status", "200"], false],
    ["two", [":status", "200", ":status", "200"], false],
    ["101", [":status", "101"], false],
    ["099", [":status", "099"], false],
    ["600", [":status", "600"], false],
    ["200 and a blank", [":status", "200 "], false],
    ["200 and a line end", [":status", "200\n"], false],
    ["another pseudo-field", [":status", "200", ":path", "/"], false],
    ["a length that is none", [":status", "200", "content-length", "5x"], false],
    ["two lengths", [":status", "200", "content-length", "5", "content-length", "5"], false],
    ["a list of lengths", [":status", "200", "content-length", "5, 5"], false],
    ["a length, and the end", [":status", "200", "content-length", "5"], true],
  ])("not %s", (_name, pairs, ended) => {
    expect(reasonOf(() => read(pairs, "GET", ended))).toBe("upstream-malformed");
  });
});

describe("fields", () => {
  test.each<[string, string[], string]>([
    ["none", [], "none"],
    ["an empty value", ["x", ""], "none"],
    ["obs-text", ["x", "\u00ff"], "none"],
    ["a tab within", ["x", "a\tb"], "none"],
    ["every sign of a token", ["!#$%&'*+-.^_`|~09az", "v"], "none"],
    ["as many as may be", ["a", "", "b", "", "c", "", "d", ""], "none"],
    ["one more", ["a", "", "b", "", "c", "", "d", "", "e", ""], "upstream-head-too-large"],
    ["as large as may be", ["x", "y".repeat(995)], "none"],
    ["an octet more", ["x", "y".repeat(996)], "upstream-head-too-large"],
    ["upper case", ["X", "v"], "upstream-malformed"],
    ["no name", ["", "v"], "upstream-malformed"],
    ["a blank in the name", ["x y", "v"], "upstream-malformed"],
    ["a colon in the name", ["x:", "v"], "upstream-malformed"],
    ["a pseudo-field", [":status", "200"], "upstream-malformed"],
    ["CR", ["x", "a\rb"], "upstream-malformed"],
    ["LF", ["x", "a\nb"], "upstream-malformed"],
    ["NUL", ["x", "a\0b"], "upstream-malformed"],
    ["DEL", ["x", "a\u007fb"], "upstream-malformed"],
    ["a blank before", ["x", " v"], "upstream-malformed"],
    ["a tab behind", ["x", "v\t"], "upstream-malformed"],
    ...["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"].map(
      (name): [string, string[], string] => [name, [name, "x"], "upstream-malformed"],
    ),
  ])("%s", (_name, fields, reason) => {
    expect(reasonOf(() => checkAnswerFields(fields, limits))).toBe(reason);
  });

  test("are counted as HTTP/1 lines would be", () => {
    expect(octetsOf(["name", "value", "a", ""])).toBe("name: value\r\na: \r\n".length);
  });
});
