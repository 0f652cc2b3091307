import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { all, endToEnd, first, isMethodOverride, safeTrailers, tokens } from "../../src/net/headers.ts";

const pairs = (...names: string[]): string[] => names.flatMap((name) => [name, `value of ${name}`]);

describe("first, all and tokens", () => {
  const headers = ["Accept", "a, B", "X", "1", "ACCEPT", "", "accept", " ,c ;q=1,, \td\t"];

  test.each([
    ["accept", "a, B"],
    ["x", "1"],
    ["y", undefined],
    ["accepted", undefined],
    ["", undefined],
  ])("first of %s", (name, value) => {
    expect(first(headers, name)).toBe(value);
  });

  test("all, in order", () => {
    expect(all(headers, "accept")).toEqual(["a, B", "", " ,c ;q=1,, \td\t"]);
    expect(all(headers, "y")).toEqual([]);
  });

  test("tokens of every list, without empty elements", () => {
    expect(tokens(headers, "accept")).toEqual(["a", "b", "c ;q=1", "d"]);
    expect(tokens(headers, "y")).toEqual([]);
  });

  test("only space and tab are trimmed, in linear time", () => {
    expect(tokens(["A", "\xa0close,\vx\f"], "a")).toEqual(["\xa0close", "\vx\f"]);
    const wide = `a${" ".repeat(200_000)}b`;
    expect(tokens(["A", `${wide} , ${" ".repeat(200_000)}`], "a")).toEqual([wide]);
  });

  test("case is folded for letters alone", () => {
    expect(first(["@[x", "1"], "`{x")).toBeUndefined();
    expect(first(["K\u212a", "1"], "kk")).toBeUndefined();
  });
});

describe("endToEnd", () => {
  const kept = pairs(
    ..."Host aCCept X-Custom Authorization Upgrade-Insecure-Requests Content-Type Via Content Length".split(
      " ",
    ),
    ..."Tea X-Host Hosts Proxy Proxy-Status Transfer-Encodings - Ünit".split(" "),
    "",
  );

  test("keeps order, case and repetitions", () => {
    const headers = [...kept, "X-Custom", "again"];
    expect(endToEnd(headers)).toEqual(headers);
  });

  test.each([
    ["Connection"],
    ["Keep-Alive"],
    ["Proxy-Connection"],
    ["Proxy-Authorization"],
    ["Proxy-Authenticate"],
    ["Proxy-Authentication-Info"],
    ["TE"],
    ["Trailer"],
    ["Transfer-Encoding"],
    ["Content-Length"],
    ["Upgrade"],
    ["HTTP2-Settings"],
    // look-alikes
    ["Transfer_Encoding"],
    ["transfer encoding"],
    ["Transfer.Encoding"],
    ["TRANSFER--ENCODING"],
    ["Transfer-Encoding "],
    [" Transfer-Encoding"],
    ["\vTransfer-Encoding"],
    ["Transfer-Encoding\0"],
    ["Transfer\xadEncoding"],
    ["Content_Length"],
    ["_Content_Length_"],
    ["Content-Length:"],
    ["HTTP2_Settings"],
    ["proxy_authorization"],
    ["Host "],
    ["_host"],
    ["H-ost"],
  ])("drops %j", (name) => {
    expect(endToEnd([...pairs(name.toLowerCase(), name.toUpperCase(), name), ...kept])).toEqual(kept);
  });

  test("drops what Connection names, wherever it stands", () => {
    const headers = [
      "x-HOP",
      "1",
      "Connection",
      "close, X-Hop",
      "X-Stays",
      "2",
      "connection",
      "\tother ,",
      "Other",
      "3",
    ];
    expect(endToEnd(headers)).toEqual(["X-Stays", "2"]);
  });

  test("Connection cannot remove what is meant for every recipient", () => {
    const names = [
      "Host",
      "Cache-Control",
      "Authorization",
      "Cookie",
      "Content-Type",
      "If-Match",
      "Range",
      "Via",
    ];
    const headers = [...pairs(...names), "Connection", names.join(","), "connection", "content-length"];
    expect(endToEnd(headers)).toEqual(pairs(...names));
  });

  test("nothing hop-by-hop is left, and once is enough", () => {
    const name = fc.constantFrom(
      ..."Host Connection TE te_ Transfer-Encoding Content_Length X-A x-a Upgrade Accept Trailer keepalive".split(
        " ",
      ),
    );
    const field = fc.tuple(name, fc.constantFrom("x-a", "close", "host, accept", "", "chunked"));
    fc.assert(
      fc.property(fc.array(field), (fields) => {
        const once = endToEnd(fields.flat());
        expect(endToEnd(once)).toEqual(once);
        expect(
          once.filter((_, at) => at % 2 === 0).every((left) => /^(?:host|x-a|accept)$/i.test(left)),
        ).toBe(true);
      }),
    );
  });
});

describe("safeTrailers", () => {
  test("relays what says something about the content", () => {
    const trailers = pairs("Server-Timing", "grpc-status", "Digest", "Content-Digest", "X-Checksum", "ETag");
    expect(safeTrailers(trailers)).toEqual(trailers);
  });

  test.each([
    ["Transfer-Encoding"],
    ["Content-Length"],
    ["Content_Length"],
    ["Host"],
    ["host_"],
    ["Connection"],
    ["Trailer"],
    ["TE"],
    ["Authorization"],
    ["WWW-Authenticate"],
    ["Proxy-Authorization"],
    ["Proxy-Authenticate"],
    ["Cookie"],
    ["Set-Cookie"],
    ["Set_Cookie"],
    ["Content-Type"],
    ["Content-Encoding"],
    ["Content-Range"],
    ["Cache-Control"],
    ["Expect"],
    ["Range"],
    ["If-Match"],
    ["Location"],
    ["Date"],
    ["Via"],
    ["X-Forwarded-For"],
    ["Alt-Svc"],
    ["X-HTTP-Method-Override"],
  ])("drops %s", (name) => {
    expect(safeTrailers(pairs("A", name, name.toLowerCase(), "B"))).toEqual(pairs("A", "B"));
  });
});

describe("isMethodOverride", () => {
  test.each([
    "X-HTTP-Method-Override",
    "x-http-method-override",
    "X-HTTP-METHOD",
    "X-Method-Override",
    "X_HTTP_Method_Override",
    "x_http_method",
    "X.Method_Override",
  ])("%s", (name) => {
    expect(isMethodOverride(pairs("Accept", name))).toBe(true);
  });

  test.each([["X-HTTP-Methods"], ["Method-Override"], ["X-Method"], ["Access-Control-Request-Method"]])(
    "not %s",
    (name) => {
      expect(isMethodOverride(pairs("Accept", name))).toBe(false);
    },
  );
});
