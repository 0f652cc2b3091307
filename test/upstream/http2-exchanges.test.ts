// One table of exchanges over both engines: what a sandbox gets must not depend on which protocol its origin speaks.

import {
  createSecureServer,
  type Http2SecureServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { HeaderPairs } from "../../src/net/headers.ts";
import { createCa } from "../support/pki.ts";
import {
  ask,
  type Asked,
  Feed,
  known,
  originAt,
  type Result,
  type TestUpstream,
  upstreamOver,
} from "./asking.ts";

const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
let server: Http2SecureServer;
let upstream: TestUpstream;
let port: number;
let handler: (request: Http2ServerRequest, response: Http2ServerResponse) => void = () => {};

beforeAll(async () => {
  server = createSecureServer({ cert: certificate.chain, key: certificate.key, allowHTTP1: true });
  server.on("request", (request, response) => handler(request, response));
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as AddressInfo).port;
  upstream = upstreamOver(ca);
});
afterAll(async () => {
  upstream.close();
  await new Promise((resolve) => server.close(resolve));
});

type Case = {
  readonly name: string;
  readonly asked?: () => Asked;
  readonly answer: (request: Http2ServerRequest, response: Http2ServerResponse) => void;
  readonly gives: Partial<Result>;
};

/** The origin's answer says what it got. */
const echo: Case["answer"] = (request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => (body += chunk.toString()));
  request.on("end", () => {
    const { method, url, trailers } = request;
    const authority = request.headers[":authority"] ?? request.headers.host;
    response.end(JSON.stringify({ method, url, authority, body, trailers }));
  });
};
const got = (fields: object): string =>
  JSON.stringify({ method: "GET", url: "/", authority: "origin.test", body: "", trailers: {}, ...fields });

const fed = (trailers: HeaderPairs = []): Feed => {
  const feed = new Feed();
  void feed
    .write("one,")
    .then(() => feed.write("two"))
    .then(() => feed.end(trailers));
  return feed;
};

const CASES: readonly Case[] = [
  {
    name: "a GET",
    asked: () => ({ target: "/a?b=c" }),
    answer: echo,
    gives: { body: got({ url: "/a?b=c" }) },
  },
  {
    name: "a body of known length",
    asked: () => ({ method: "POST", body: known("hello") }),
    answer: echo,
    gives: { body: got({ method: "POST", body: "hello" }) },
  },
  {
    name: "a POST without a body",
    asked: () => ({ method: "POST" }),
    answer: echo,
    gives: { body: got({ method: "POST" }) },
  },
  {
    name: "a body of unknown length",
    asked: () => ({ method: "PUT", body: fed() }),
    answer: echo,
    gives: { body: got({ method: "PUT", body: "one,two" }) },
  },
  {
    name: "trailers up, less those that are unsafe",
    asked: () => ({
      method: "PUT",
      body: fed(["X-Sum", "1", "Content-Length", "9", "Authorization", "x", "X-Sum", "2"]),
    }),
    answer: echo,
    gives: { body: got({ method: "PUT", body: "one,two", trailers: { "x-sum": "1, 2" } }) },
  },
  {
    name: "trailers down, less those that are unsafe",
    answer: (_request, response) => {
      response.writeHead(200, { trailer: "x-sum" });
      response.write("body");
      response.addTrailers({ "x-sum": "7", "set-cookie": "a=b" });
      response.end();
    },
    gives: { body: "body", trailers: ["x-sum", "7"], declared: { kind: "chunked" } },
  },
  {
    name: "a known length",
    answer: (_request, response) => void response.writeHead(200, { "content-length": "4" }).end("four"),
    gives: { body: "four", declared: { kind: "known", octets: 4 } },
  },
  {
    name: "fields as they come",
    answer: (_request, response) =>
      void response
        .writeHead(201, { "set-cookie": ["a=1", "b=2"], "x-latin": "caf\u00e9", "x-empty": "" })
        .end("."),
    gives: {
      status: 201,
      headers: ["set-cookie", "a=1", "set-cookie", "b=2", "x-latin", "caf\u00e9", "x-empty", ""],
    },
  },
  {
    name: "an empty answer",
    answer: (_request, response) => void response.writeHead(200, { "content-length": "0" }).end(),
    gives: { body: "", declared: { kind: "known", octets: 0 } },
  },
  {
    name: "HEAD, with the length that GET would have",
    asked: () => ({ method: "HEAD" }),
    answer: (_request, response) => void response.writeHead(200, { "content-length": "4" }).end(),
    gives: { body: "", declared: { kind: "known", octets: 4 } },
  },
  {
    name: "204",
    answer: (_request, response) => void response.writeHead(204).end(),
    gives: { status: 204, declared: { kind: "none" } },
  },
  {
    name: "304, with the length of what was not modified",
    answer: (_request, response) => void response.writeHead(304, { "content-length": "9" }).end(),
    gives: { status: 304, body: "", declared: { kind: "known", octets: 9 } },
  },
  {
    name: "early hints",
    answer: (_request, response) => {
      response.writeEarlyHints({ link: "</a.css>; rel=preload" });
      response.end("ok");
    },
    gives: { informed: [103], body: "ok" },
  },
  {
    name: "100, where it is expected",
    asked: () => ({ method: "PUT", headers: ["Expect", "100-continue"], body: known("hello") }),
    answer: echo,
    gives: { informed: [100], body: got({ method: "PUT", body: "hello" }) },
  },
  {
    name: "a large body",
    answer: (_request, response) => void response.end("x".repeat(3_000_000)),
    gives: { body: "x".repeat(3_000_000) },
  },
];

describe.each(["1.1", "2"] as const)("over HTTP/%s", (version) => {
  test.each(CASES)("$name", async ({ asked, answer, gives }) => {
    const versions: string[] = [];
    handler = (request, response) => {
      versions.push(request.httpVersion);
      answer(request, response);
    };
    const result = await ask(upstream, originAt(port, version), asked?.());
    expect({ ...result, headers: ofTheAnswer(result.headers) }).toMatchObject({
      status: 200,
      fault: undefined,
      cut: undefined,
      ...gives,
    });
    expect(versions).toEqual([version === "2" ? "2.0" : "1.1"]);
  });
});

/** Less what belongs to the framing, or to the server. */
function ofTheAnswer(headers: HeaderPairs): string[] {
  const kept: string[] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at]!.toLowerCase();
    if (!/^(date|connection|keep-alive|transfer-encoding|content-length|trailer)$/.test(name))
      kept.push(name, headers[at + 1]!);
  }
  return kept;
}

test("TE: trailers is said where the sandbox said it, and nothing else of the connection", async () => {
  let seen: readonly string[] = [];
  handler = (request, response) => {
    seen = request.rawHeaders;
    response.end();
  };
  await ask(upstream, originAt(port), {
    headers: ["X-Mixed-Case", "Kept As Is", "Cookie", "a=1; b=2"],
    trailers: true,
  });
  expect(seen).toEqual([
    ":method",
    "GET",
    ":scheme",
    "https",
    ":authority",
    "origin.test",
    ":path",
    "/",
    "x-mixed-case",
    "Kept As Is",
    "cookie",
    "a=1; b=2",
    "te",
    "trailers",
  ]);
});
