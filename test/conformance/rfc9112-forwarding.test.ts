// What is forwarded is written anew from what was read: own framing, one canonical Host, no hop-by-hop fields, no look-alikes
// of framing, no chunk extensions, no dangerous trailers (RFC 9112 §6, §7; RFC 9110 §7.6).

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort } from "../proxy/wire.ts";
import { settled } from "../support/audit-records.ts";

let origin: RecordingOrigin;
let proxy: RunningSallyport;
/** To every request, whichever connection it comes by. */
let answer: string;

beforeAll(async () => {
  origin = await recordingOrigin();
  origin.behave(answerRequests(() => answer));
  proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(() => {
  origin.reset();
  answer = OK;
});

const fill = (octets: string): string =>
  octets
    .replaceAll("{t}", `http://origin.test:${origin.port}`)
    .replaceAll("{h}", `Host: origin.test:${origin.port}\r\n`);
const strip = (octets: string): string => octets.replaceAll(/Via: 1\.1 sallyport-[0-9a-f]+/g, "Via: {us}");

async function forwarded(octets: string, method = "GET"): Promise<string> {
  await using wire = await dialPort(proxy.port);
  expect((await wire.write(fill(octets)).answer(method)).status).toBe(200);
  return strip(origin.received);
}

const REQUESTS: readonly (readonly [name: string, sent: string, received: string])[] = [
  ["a plain request", "GET {t}/a?b HTTP/1.1\r\n{h}\r\n", "GET /a?b HTTP/1.1\r\n{h}Via: {us}\r\n\r\n"],
  ["no path", "GET {t} HTTP/1.1\r\n{h}\r\n", "GET / HTTP/1.1\r\n{h}Via: {us}\r\n\r\n"],
  ["no path, a query", "GET {t}?b HTTP/1.1\r\n{h}\r\n", "GET /?b HTTP/1.1\r\n{h}Via: {us}\r\n\r\n"],
  ["OPTIONS without a path", "OPTIONS {t} HTTP/1.1\r\n{h}\r\n", "OPTIONS * HTTP/1.1\r\n{h}Via: {us}\r\n\r\n"],
  ["one empty line first", "\r\nGET {t}/ HTTP/1.1\r\n{h}\r\n", "GET / HTTP/1.1\r\n{h}Via: {us}\r\n\r\n"],
  ["dot segments", "GET {t}/a/../b/./c HTTP/1.1\r\n{h}\r\n", "GET /b/c HTTP/1.1\r\n{h}Via: {us}\r\n\r\n"],
  [
    "Host in another case and place",
    "GET {t}/ HTTP/1.1\r\nA: 1\r\nhOST:\torigin.TEST.:{p} \r\nB: 2\r\n\r\n",
    "GET / HTTP/1.1\r\n{h}A: 1\r\nB: 2\r\nVia: {us}\r\n\r\n",
  ],
  ["HTTP/1.0 without Host", "GET {t}/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\n{h}Via: {us}\r\n\r\n"],
  [
    "names and values as they came, white space around them gone",
    'GET {t}/ HTTP/1.1\r\n{h}x-LOWER:   a  b \t\r\nX-Empty:\r\nX-Obs: \xe4\r\nX-Lower: "c"\r\n\r\n',
    'GET / HTTP/1.1\r\n{h}x-LOWER: a  b\r\nX-Empty: \r\nX-Obs: \xe4\r\nX-Lower: "c"\r\nVia: {us}\r\n\r\n',
  ],
  [
    "hop-by-hop fields",
    "GET {t}/ HTTP/1.1\r\n{h}Connection: close, X-Mine, Host, Content-Length\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nKept: 1\r\n\r\n",
    "GET / HTTP/1.1\r\n{h}Kept: 1\r\nVia: {us}\r\n\r\n",
  ],
  [
    "look-alikes of framing and credentials",
    "GET {t}/ HTTP/1.1\r\n{h}Transfer_Encoding: chunked\r\nContent_Length: 5\r\nTransfer.Encoding: chunked\r\nProxy_Authorization: Basic x\r\nHost_: evil.test\r\nKept: 1\r\n\r\n",
    "GET / HTTP/1.1\r\n{h}Kept: 1\r\nVia: {us}\r\n\r\n",
  ],
  [
    "Via of others",
    "GET {t}/ HTTP/1.1\r\n{h}Via: 1.0 fred\r\nvia: 1.1 p.example.com (x)\r\n\r\n",
    "GET / HTTP/1.1\r\n{h}Via: 1.0 fred, 1.1 p.example.com (x), 1.1 {us-alone}\r\n\r\n",
  ],
  [
    "a body of known length, with leading zeros in it",
    "POST {t}/ HTTP/1.1\r\n{h}Content-Length: 0004\r\n\r\nabcd",
    "POST / HTTP/1.1\r\n{h}Via: {us}\r\nContent-Length: 4\r\n\r\nabcd",
  ],
  [
    "POST without a body",
    "POST {t}/ HTTP/1.1\r\n{h}\r\n",
    "POST / HTTP/1.1\r\n{h}Via: {us}\r\nContent-Length: 0\r\n\r\n",
  ],
  [
    "Connection that names Content-Length",
    "POST {t}/ HTTP/1.1\r\n{h}Connection: Content-Length\r\nContent-Length: 4\r\n\r\nabcd",
    "POST / HTTP/1.1\r\n{h}Via: {us}\r\nContent-Length: 4\r\n\r\nabcd",
  ],
  [
    "chunks with extensions, odd sizes and trailers",
    'POST {t}/ HTTP/1.1\r\n{h}Transfer-Encoding: Chunked\r\n\r\n0004;a="b"\r\nabcd\r\nA;x\r\n0123456789\r\n000;last\r\nX-Sum: 1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\nHost: evil.test\r\nAuthorization: x\r\nX-HTTP-Method-Override: PUT\r\n\r\n',
    "POST / HTTP/1.1\r\n{h}Via: {us}\r\nTransfer-Encoding: chunked\r\n\r\ne\r\nabcd0123456789\r\n0\r\nX-Sum: 1\r\n\r\n",
  ],
];

describe("requests", () => {
  test.each(REQUESTS.map(([name, sent, received]) => ({ name, sent, received })))(
    "$name",
    async ({ sent, received }) => {
      const octets = await forwarded(
        sent.replaceAll("{p}", String(origin.port)),
        /^\s*(\S+)/.exec(sent)?.[1] ?? "",
      );
      const us = /1\.1 (sallyport-[0-9a-f]+)/.exec(origin.received)?.[1] ?? "";
      expect(octets).toBe(fill(received.replaceAll("{us-alone}", us)));
    },
  );
});

const ANSWERS: readonly (readonly [name: string, sent: string, received: string, method?: string])[] = [
  [
    "hop-by-hop fields, challenges of a proxy and invitations elsewhere",
    'HTTP/1.1 200 Fine\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nProxy-Authentication-Info: x\r\nAlt-Svc: h3=":443"\r\nUpgrade: h2\r\nTrailer: X\r\nContent-Length: 2\r\nkEPT: 1\r\n\r\nok',
    "HTTP/1.1 200 Fine\r\nkEPT: 1\r\nVia: {us}\r\nContent-Length: 2\r\n\r\nok",
  ],
  [
    "chunks, extensions, trailers",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a\r\n\r\n",
    "HTTP/1.1 200 OK\r\nVia: {us}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
  ],
  [
    "look-alikes of framing",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer_Encoding: chunked\r\nContent_Length: 5\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nVia: {us}\r\nContent-Length: 2\r\n\r\nok",
  ],
  [
    "no reason phrase",
    "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 \r\nVia: {us}\r\nContent-Length: 2\r\n\r\nok",
  ],
  [
    "204 with a length",
    "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 204 No\r\nVia: {us}\r\n\r\n",
  ],
  [
    "304 with a length",
    "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 99\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nETag: x\r\nVia: {us}\r\nContent-Length: 99\r\n\r\n",
  ],
  [
    "HEAD with a length",
    "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",
    "HTTP/1.1 200 OK\r\nVia: {us}\r\nContent-Length: 99\r\n\r\n",
    "HEAD",
  ],
  [
    "HEAD with chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nVia: {us}\r\n\r\n",
    "HEAD",
  ],
  [
    "interim answers",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X\r\nX: 1\r\nAlt-Svc: h3\r\nContent-Length: 5\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: {us}\r\n\r\nHTTP/1.1 200 OK\r\nVia: {us}\r\nContent-Length: 2\r\n\r\nok",
  ],
  [
    "a range",
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/4\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 1-2/4\r\nVia: {us}\r\nContent-Length: 2\r\n\r\nok",
  ],
  [
    "a redirect, which is not followed",
    "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nVia: {us}\r\nContent-Length: 0\r\n\r\n",
  ],
];

describe("answers", () => {
  test.each(ANSWERS.map(([name, sent, received, method]) => ({ name, sent, received, method })))(
    "$name",
    async ({ sent, received, method = "GET" }) => {
      answer = sent;
      await using wire = await dialPort(proxy.port);
      wire.write(fill(`${method} {t}/ HTTP/1.1\r\n{h}Range: bytes=1-2\r\n\r\n`));
      while (!/ [2-5]\d\d .*\r\n\r\n/s.test(wire.all)) {
        await wire.head();
      }
      await wire.until(() => strip(wire.all).length >= received.length);
      expect(strip(wire.all)).toBe(received);
      // The connection is at its next request, on both sides.
      wire.held = "";
      answer = OK;
      wire.write(fill("GET {t}/next HTTP/1.1\r\n{h}\r\n"));
      await wire.head();
      expect(origin.received).toContain("GET /next");
    },
  );

  test("for HTTP/1.0: no chunks, and the end is the connection's", async () => {
    answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    await using wire = await dialPort(proxy.port);
    wire.write(fill("GET {t}/ HTTP/1.0\r\n{h}Connection: keep-alive\r\n\r\n"));
    expect(strip(await wire.rest())).toBe("HTTP/1.1 200 OK\r\nVia: {us}\r\nConnection: close\r\n\r\nok");
  });

  test("for HTTP/1.0: kept alive where it asks and the length is known", async () => {
    await using wire = await dialPort(proxy.port);
    const request = fill("GET {t}/ HTTP/1.0\r\n{h}Connection: keep-alive\r\n\r\n");
    expect((await wire.write(request).answer()).field("connection")).toBe("keep-alive");
    expect((await wire.write(request).answer()).status).toBe(200);
    wire.write(fill("GET {t}/ HTTP/1.0\r\n{h}\r\n"));
    expect((await wire.answer()).field("connection")).toBe("close");
    await wire.rest();
    expect(settled(await proxy.recorded(settled))).toBe(true);
  });
});
