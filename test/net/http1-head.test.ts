import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ProxyFault } from "../../src/net/fault.ts";
import { HeadBuffer, headEnd } from "../../src/net/http1-head-buffer.ts";
import { parseRequest, parseResponse } from "../../src/net/http1-head.ts";

const LIMITS = { headOctets: 400, headFields: 8, targetOctets: 60 };
const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

function fault<T>(read: () => T): T | string {
  try {
    return read();
  } catch (error) {
    if (error instanceof ProxyFault) return error.reason;
    throw error;
  }
}

const request = (text: string) => fault(() => parseRequest(text, LIMITS));
const response = (text: string, method = "GET") => fault(() => parseResponse(text, LIMITS, method));

describe("request heads", () => {
  test("are read whole", () => {
    expect(
      request("POST /a HTTP/1.1\r\nHost: a.test\r\nX-Y:\t z \r\nContent-Length: 5\r\nExpect: 100-Continue"),
    ).toEqual({
      head: {
        method: "POST",
        target: "/a",
        version: "1.1",
        headers: ["Host", "a.test", "X-Y", "z", "Content-Length", "5", "Expect", "100-Continue"],
      },
      length: { kind: "known", octets: 5 },
      host: "a.test",
      keepAlive: true,
      expectContinue: true,
      upgrade: undefined,
    });
  });

  test.each([
    { fields: "", http: "1.1", keepAlive: true },
    { fields: "Connection: close\r\n", http: "1.1", keepAlive: false },
    { fields: "Connection: X, Close\r\n", http: "1.1", keepAlive: false },
    { fields: "Connection: X\r\nConnection: close\r\n", http: "1.1", keepAlive: false },
    { fields: "", http: "1.0", keepAlive: false },
    { fields: "Connection: Keep-Alive\r\n", http: "1.0", keepAlive: true },
    { fields: "Connection: keep-alive, close\r\n", http: "1.0", keepAlive: false },
  ])("kept alive: HTTP/$http $fields", ({ fields, http, keepAlive }) => {
    const parsed = request(`GET / HTTP/${http}\r\n${fields}Host: a.test`);
    expect(parsed).toMatchObject({ keepAlive });
  });

  test.each([
    { fields: "Upgrade: websocket", upgrade: undefined },
    { fields: "Upgrade: websocket\r\nConnection: upgrade", upgrade: "websocket" },
    { fields: "Upgrade: a\r\nUpgrade: b\r\nConnection: x, Upgrade", upgrade: "a, b" },
  ])("upgrade: $fields", ({ fields, upgrade }) => {
    expect(request(`GET / HTTP/1.1\r\nHost: a.test\r\n${fields}`)).toMatchObject({ upgrade });
  });

  test.each([
    ["GET / HTTP/1.1", "host-ambiguous"],
    ["GET / HTTP/1.1\r\nHost: a\r\nhost: a", "host-ambiguous"],
    ["GET / HTTP/1.1\r\nHost: a\r\nExpect: x", "expectation-unsupported"],
    ["GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0", "length-ambiguous"],
    ["GET / HTTP/1.0\r\nTransfer-Encoding: chunked", "length-ambiguous"],
    ["GET / HTTP/3.0\r\nHost: a", "version-unsupported"],
    ["GET / HTTP/x.y\r\nHost: a", "request-malformed"],
    ["", "request-malformed"],
    [`GET /${"a".repeat(60)} HTTP/1.1\r\nHost: a`, "head-too-large"],
    [`GET / HTTP/1.1\r\n${"A: b\r\n".repeat(9)}Host: a`, "head-too-large"],
  ])("%j: %s", (text, reason) => {
    expect(request(text)).toBe(reason);
  });

  test("at their bounds", () => {
    expect(request(`GET /${"a".repeat(59)} HTTP/1.1\r\nHost: a`)).toBeTypeOf("object");
    expect(request(`GET / HTTP/1.1\r\n${"A: b\r\n".repeat(7)}Host: a`)).toBeTypeOf("object");
  });
});

describe("response heads", () => {
  test.each([
    { text: "HTTP/1.1 200 OK", kind: "close" },
    { text: "HTTP/1.1 200 OK\r\nContent-Length: 3", kind: "known" },
    { text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", kind: "chunked" },
    { text: "HTTP/1.1 204 No", kind: "none" },
    { text: "HTTP/1.1 304 Same\r\nContent-Length: 3", kind: "none" },
    { text: "HTTP/1.1 103 Hints", kind: "none" },
    { text: "HTTP/1.1 200 OK\r\nContent-Length: 3", kind: "none", method: "HEAD" },
  ])("$text to $method: $kind", ({ text, kind, method }) => {
    expect(response(text, method)).toMatchObject({ length: { kind } });
  });

  test.each([
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked",
    "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
    "HTTP/1.1 600 OK",
    "HTTP/1.1 20 OK",
    "HTTP/1.1-200 OK",
    "HTTP/1.1 200OK",
    "\r\nHTTP/1.1 200 OK",
  ])("%j is malformed", (text) => {
    expect(response(text)).toBe("upstream-malformed");
  });
});

type Gathered = { readonly text: string; readonly rest: string } | "unfinished" | string;

function gather(pieces: readonly Buffer[], side: "request" | "response"): Gathered {
  const buffer = new HeadBuffer(LIMITS.headOctets, side);
  let found: { text: string; rest: string } | undefined;
  const end = fault(() => {
    for (const piece of pieces) {
      if (found !== undefined) {
        found.rest += piece.toString("latin1");
        continue;
      }
      const whole = buffer.push(piece);
      if (whole !== undefined) found = { text: whole.text, rest: whole.rest.toString("latin1") };
    }
    return undefined;
  });
  return end ?? found ?? "unfinished";
}

/** What a head comes to in the end: what cannot be parsed may fail early or late, and by either name. */
function outcome(gathered: Gathered, side: "request" | "response"): unknown {
  if (typeof gathered === "string") return gathered === "unfinished" ? gathered : "refused";
  const parsed = side === "request" ? request(gathered.text) : response(gathered.text);
  return typeof parsed === "string" ? "refused" : { ...gathered, parsed };
}

test("the end of a head is found where indexOf finds it", () => {
  const octets = fc.array(fc.constantFrom(0x0d, 0x0a, 0x0a, 0x0d, 0x61, 0x00, 0xff), { maxLength: 60 });
  fc.assert(
    fc.property(octets, fc.nat(10), (all, from) => {
      const bytes = Buffer.from(all);
      expect(headEnd(bytes, from)).toBe(bytes.indexOf("\r\n\r\n", from));
    }),
    { seed: 20_261_127, numRuns: 3000 },
  );
});

describe("gathering a head", () => {
  test.each(["request", "response"] as const)("%s: any split comes to the same", (side) => {
    const syllables = fc.constantFrom(
      "GET / HTTP/1.1\r\n",
      "HTTP/1.1 200 OK\r\n",
      "Host: a\r\n",
      "A: b\r\n",
      "Content-Length: 4\r\n",
      "\r\n",
      "\r\n\r\n",
      "\r",
      "\n",
      " ",
      ":",
      "x",
      "\0",
      "y".repeat(90),
    );
    fc.assert(
      fc.property(
        fc.array(syllables, { maxLength: 12 }).map((parts) => bytes(parts.join(""))),
        fc.array(fc.nat(300), { maxLength: 6 }),
        (whole, cuts) => {
          const points = [
            0,
            ...cuts.filter((cut) => cut < whole.length).toSorted((a, b) => a - b),
            whole.length,
          ];
          const pieces = points.slice(1).map((end, at) => whole.subarray(points[at], end));
          const [cut, once] = [outcome(gather(pieces, side), side), outcome(gather([whole], side), side)];
          expect(cut).toEqual(once);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("every octet by itself", () => {
    const text = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const pieces = [...bytes(`${text}rest`)].map((octet) => Buffer.from([octet]));
    expect(gather(pieces, "request")).toEqual({ text: text.trim(), rest: "rest" });
  });

  test.each([
    ["\x16\x03\x01", "request-malformed"],
    [" GET", "request-malformed"],
    ["GET / HTTP/1.1\nHost", "request-malformed"],
    ["\n", "request-malformed"],
    ["x".repeat(401), "head-too-large"],
  ])("%j fails before it ends", (text, reason) => {
    expect(gather([bytes(text)], "request")).toBe(reason);
  });
});
