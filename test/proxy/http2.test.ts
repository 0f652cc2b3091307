// HTTP/2 with sandboxes, towards HTTP/1.1 origins: what passes, how it passes, and that streams do not meet.

import { once } from "node:events";
import { constants } from "node:http2";
import { describe, expect, test } from "vitest";
import { answerOf, ask } from "../support/http2.ts";
import { http2SetUp, LONE as OK } from "../support/http2-set-up.ts";
import { answerRequests } from "../support/recording-origin.ts";

const lone = (octets: string): string => octets.replace("\r\n", "\r\nConnection: close\r\n");

const {
  authority,
  client: open,
  origin,
  requests: found,
  tls,
} = await http2SetUp({
  names: ["origin.test", "fetch.test"],
  top: "http2: always\nlimits: { drain: 1s, body_idle: 2s, response_head: 3s }",
  policy: `
    preset: none
    methods: all
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: fetch.test, networks: [127.0.0.0/8], methods: [GET] }`,
});

describe("a request", () => {
  test("goes out as HTTP/1.1, written anew, and its answer comes back", async () => {
    using client = await open();
    const answer = await ask(client.session, {
      ":path": "/a/b?c=d",
      "x-one": "1",
      cookie: ["a=1", "b=2"],
      te: "trailers",
      accept: "text/plain",
    });
    expect([answer.status, answer.body, answer.code]).toEqual([200, "ok\n", 0]);
    expect(answer.headers["content-length"]).toBe("3");
    expect(answer.headers["via"]).toMatch(/^1\.1 sallyport-/);
    const [head = ""] = origin.received.split("\r\n\r\n");
    expect(head.split("\r\n").map((line) => line.replace(/sallyport-\w+/, "sallyport"))).toEqual([
      "GET /a/b?c=d HTTP/1.1",
      `Host: ${authority}`,
      "x-one: 1",
      "cookie: a=1; b=2",
      "accept: text/plain",
      "Via: 2 sallyport",
    ]);
    const [request] = await found(1);
    expect(request?.decision).toMatchObject({
      kind: "request",
      verdict: "allow",
      method: "GET",
      scheme: "https",
      host: "origin.test",
      port: origin.port,
      path: "/a/b",
    });
    expect(request?.completion).toMatchObject({ outcome: "completed", status: 200 });
    expect(Number(request?.completion?.["bytesUp"])).toBe(head.length + 4);
  });

  test("fifty at once, each its own", async () => {
    origin.behave(
      answerRequests((head) => {
        const path = /^GET (\S+)/.exec(head)?.[1] ?? "";
        return `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${path.length}\r\n\r\n${path}`;
      }),
    );
    using client = await open();
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, at) => ask(client.session, { ":path": `/${at}` })),
    );
    expect(answers.map(({ body }) => body)).toEqual(Array.from({ length: 50 }, (_, at) => `/${at}`));
    const records = await found(50);
    expect(records).toHaveLength(50);
    for (const { completions } of records) expect(completions).toBe(1);
  });
});

describe("bodies", () => {
  test("up, with a length and without one, and trailers both ways", async () => {
    using client = await open();
    const reached = origin.asked();
    const stream = client.session.request(
      { ":path": "/up", ":method": "POST", trailer: "x-sum" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "42", "content-type": "evil" }));
    const answered = answerOf(stream);
    stream.write("hello ");
    const socket = await reached;
    stream.end("world");
    const all = await origin.arrived((text) => text.includes("x-sum: 42\r\n\r\n"));
    expect(all).toContain("Transfer-Encoding: chunked\r\n");
    expect(all).toMatch(/6\r\nhello \r\n5\r\nworld\r\n0\r\nx-sum: 42\r\n\r\n$/);
    socket.write(
      lone(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Done\r\n\r\n3\r\nabc\r\n0\r\nX-Done: yes\r\nContent-Length: 9\r\n\r\n",
      ),
    );
    const answer = await answered;
    expect([answer.status, answer.body]).toEqual([200, "abc"]);
    expect(Object.entries(answer.trailers ?? {})).toEqual([["x-done", "yes"]]);
  });

  test.each([
    ["known", { "content-length": "5" }, /\r\nContent-Length: 5\r\n(?:.+\r\n)*\r\nhello$/i],
    ["unknown", {}, /\r\nTransfer-Encoding: chunked\r\n(?:.+\r\n)*\r\n5\r\nhello\r\n0\r\n\r\n$/],
  ])("of %s length", async (_name, headers, expected) => {
    using client = await open();
    const answer = await ask(client.session, { ":method": "PUT", ...headers }, "hello");
    expect(answer.status).toBe(200);
    expect(origin.received).toMatch(expected);
  });

  test("10 MiB each way, octet for octet", async () => {
    const size = 10 * 1024 * 1024;
    const big = Buffer.alloc(size, "0123456789abcdef!");
    origin.behave((socket) => {
      let octets = 0;
      socket.on("data", (chunk: Buffer) => {
        octets += chunk.length;
        if (octets < size) return;
        octets = -Infinity;
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
        socket.end(big);
      });
    });
    using client = await open();
    const answer = await ask(client.session, { ":method": "POST", "content-length": String(size) }, big);
    expect(answer.status).toBe(200);
    expect(answer.body === big.toString("latin1")).toBe(true);
    expect(origin.received.endsWith(big.toString("latin1"))).toBe(true);
  });

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200, "99"],
    ["GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, undefined],
    ["GET", 'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 7\r\n\r\n', 304, "7"],
    ["GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"],
  ])("none: %s, %j", async (method, octets, status, length) => {
    origin.behave(answerRequests(() => lone(octets)));
    using client = await open();
    const answer = await ask(client.session, { ":method": method });
    expect([answer.status, answer.headers["content-length"], answer.body, answer.code]).toEqual([
      status,
      length,
      "",
      0,
    ]);
    // The stream ends, the connection does not.
    expect((await ask(client.session, { ":method": method })).status).toBe(status);
  });

  test("that ends with the origin's connection", async () => {
    origin.behave(
      (socket) => void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\n\r\nuntil the end")),
    );
    using client = await open();
    expect(await ask(client.session)).toMatchObject({ status: 200, body: "until the end", code: 0 });
  });
});

describe("interim answers", () => {
  test("103 is relayed; a 100 only to who expects it", async () => {
    origin.behave(
      answerRequests(
        () => `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${OK}`,
      ),
    );
    using client = await open();
    expect(await ask(client.session)).toMatchObject({ status: 200, interim: [103] });
    expect(await ask(client.session, { expect: "100-continue", ":method": "POST" }, "x")).toMatchObject({
      status: 200,
      interim: [100, 103],
    });
  });

  test("Expect: 100-continue waits for the origin's word", async () => {
    const reached = origin.asked();
    using client = await open();
    const stream = client.session.request(
      { ":method": "POST", ":path": "/", expect: "100-continue", "content-length": "4" },
      { endStream: false },
    );
    const answered = answerOf(stream);
    const socket = await reached;
    expect(origin.received).toMatch(/expect: 100-continue/);
    const continued = once(stream, "continue");
    socket.write("HTTP/1.1 100 Continue\r\n\r\n");
    await continued;
    stream.end("abcd");
    await origin.arrived((all) => all.endsWith("abcd"));
    socket.write(OK);
    expect(await answered).toMatchObject({ status: 200, code: 0 });
  });
});

describe("a refusal", () => {
  test("is an answer, and the stream's alone", async () => {
    using client = await open(`fetch.test:${origin.port}`);
    const reached = origin.asked();
    const slow = ask(client.session);
    const socket = await reached;
    const answer = await ask(client.session, { ":method": "POST" }, "data");
    expect(answer).toMatchObject({ status: 403, code: 0 });
    expect(answer.headers["sallyport-reason"]).toBe("method-not-allowed");
    expect(answer.body).toContain("reason:  method-not-allowed");
    socket.write(OK);
    expect(await slow).toMatchObject({ status: 200, body: "ok\n" });
    expect(origin.received).not.toContain("POST");
    const [, refused] = await found(2);
    expect(refused?.decision).toMatchObject({
      verdict: "deny",
      reason: "method-not-allowed",
      method: "POST",
    });
    expect(refused?.completion).toMatchObject({ outcome: "refused", status: 403 });
  });

  test("in the middle of an upload: readable, and no more of it is taken", async () => {
    using client = await open(`fetch.test:${origin.port}`);
    const stream = client.session.request({ ":method": "POST", ":path": "/" });
    const answered = answerOf(stream);
    stream.write(Buffer.alloc(60_000));
    const answer = await answered;
    expect(answer.status).toBe(403);
    // NO_ERROR: the answer is whole (RFC 9113 §8.1).
    expect(answer.code).toBe(constants.NGHTTP2_NO_ERROR);
    expect(origin.connections).toBe(0);
    expect((await ask(client.session)).status).toBe(200);
  });
});

describe("a stream that ends early", () => {
  test("reset by the sandbox: the origin's connection is closed, other streams go on", async () => {
    using client = await open();
    const reached = origin.asked();
    const stream = client.session.request({ ":path": "/" });
    stream.on("error", () => {});
    const socket = await reached;
    const closed = once(socket, "close");
    stream.close(constants.NGHTTP2_CANCEL);
    await closed;
    origin.behave(answerRequests(() => OK));
    expect((await ask(client.session)).status).toBe(200);
    const [reset] = await found(2);
    expect(reset?.completion).toMatchObject({ outcome: "aborted" });
  });

  test("in the middle of its body: the origin sees it cut", async () => {
    using client = await open();
    const reached = origin.asked();
    const stream = client.session.request({ ":path": "/", ":method": "POST" });
    stream.on("error", () => {});
    stream.write("hello");
    const socket = await reached;
    await origin.arrived((all) => all.includes("hello"));
    const closed = once(socket, "close");
    stream.destroy(new Error("gone"));
    await closed;
    expect(origin.received).not.toMatch(/0\r\n\r\n$/);
  });

  test.each([
    ["Content-Length: 100\r\n\r\nabc"],
    ["Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ["Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz"],
  ])("cut by the origin: reset, never an orderly end (%j)", async (rest) => {
    origin.behave((socket) => void socket.once("data", () => socket.end(`HTTP/1.1 200 OK\r\n${rest}`)));
    using client = await open();
    const answer = await ask(client.session);
    expect(answer).toMatchObject({ status: 200, body: "abc", code: constants.NGHTTP2_INTERNAL_ERROR });
    const [cut] = await found(1);
    expect(cut?.completion).toMatchObject({ outcome: "fault" });
    origin.behave(answerRequests(() => OK));
    expect((await ask(client.session)).status).toBe(200);
  });

  test("the whole connection: every exchange is completed as aborted", async () => {
    const client = await open();
    let sockets = 0;
    origin.behave((socket) => void socket.once("data", () => sockets++));
    const streams = Array.from({ length: 5 }, () => ask(client.session));
    await expect.poll(() => sockets).toBe(5);
    client.socket.destroy();
    await Promise.all(streams);
    const records = await found(5);
    expect(records.map(({ completion }) => completion?.["outcome"])).toEqual(Array(5).fill("aborted"));
  });
});

describe("bodies that nobody takes stay where they are", () => {
  const BODY = 64 * 1024 * 1024;

  /** Until it moves no more. */
  async function steady(value: () => number): Promise<void> {
    for (let last = -1; last !== value();) {
      last = value();
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  test("downstream: the origin cannot send on, and the stream is reset in time; others go on", async () => {
    let sent = 0;
    origin.behave((socket) => {
      socket.once("data", () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY}\r\n\r\n`);
        const chunk = Buffer.alloc(65_536);
        const pump = (): void => {
          while (sent < BODY && !socket.destroyed) {
            sent += chunk.length;
            if (!socket.write(chunk)) return void socket.once("drain", pump);
          }
        };
        pump();
      });
    });
    using client = await open();
    const stream = client.session.request({ ":path": "/" });
    stream.on("error", () => {});
    const [headers] = (await once(stream, "response")) as [Record<string, string>];
    expect(Number(headers[":status"])).toBe(200);
    stream.pause();
    const closed = new Promise((resolve) => stream.once("close", resolve));
    await steady(() => sent);
    expect(sent).toBeLessThan(24 * 1024 * 1024);
    origin.behave(answerRequests(() => OK));
    expect((await ask(client.session)).status).toBe(200);
    await closed;
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
    const [stalled] = await found(2);
    expect(stalled?.completion).toMatchObject({ outcome: "refused", reason: "request-timeout" });
  });

  test("upstream: the sandbox cannot send on", async () => {
    origin.behave((socket) => void socket.once("data", () => socket.pause()));
    using client = await open();
    const stream = client.session.request({ ":path": "/", ":method": "POST" });
    stream.on("error", () => {});
    const chunk = Buffer.alloc(65_536);
    let sent = 0;
    const pump = (): void => {
      while (sent < BODY && !stream.destroyed) {
        sent += chunk.length;
        if (!stream.write(chunk)) return void stream.once("drain", pump);
      }
    };
    pump();
    await steady(() => sent);
    expect(sent).toBeLessThan(24 * 1024 * 1024);
  });
});

describe("streams that take their time", () => {
  test("events pass one by one as they come", async () => {
    const reached = origin.asked();
    using client = await open();
    const stream = client.session.request({ ":path": "/events", accept: "text/event-stream" });
    const socket = await reached;
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    await once(stream, "response");
    for (let at = 0; at < 5; at++) {
      const event = `data: ${at}\n\n`;
      socket.write(`${event.length.toString(16)}\r\n${event}\r\n`);
      const [chunk] = (await once(stream, "data")) as [Buffer];
      expect(chunk.toString()).toBe(event);
    }
    stream.close();
  });

  test("over HTTP/1.1 likewise", async () => {
    const reached = origin.asked();
    const wire = await tls(["http/1.1"]);
    wire.write(`GET /events HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const socket = await reached;
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    const [head] = (await once(wire, "data")) as [Buffer];
    expect(head.toString()).toMatch(/^HTTP\/1\.1 200 /);
    for (let at = 0; at < 5; at++) {
      const event = `data: ${at}\n\n`;
      socket.write(`${event.length.toString(16)}\r\n${event}\r\n`);
      const [chunk] = (await once(wire, "data")) as [Buffer];
      expect(chunk.toString()).toBe(`${event.length.toString(16)}\r\n${event}\r\n`);
    }
    wire.destroy();
  });

  test("longer than every idle bound, as long as they trickle; a long poll is waited for", async () => {
    const reached = origin.asked();
    using client = await open();
    const answered = ask(client.session);
    const socket = await reached;
    // A long poll, a little below response_head.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    socket.write("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let at = 0; at < 5; at++) {
      await new Promise((resolve) => setTimeout(resolve, 700));
      socket.write("1\r\nx\r\n");
    }
    socket.write("0\r\n\r\n");
    expect(await answered).toMatchObject({ status: 200, body: "xxxxx", code: 0 });
  });

  test("an upload that stalls is answered 408, alone", async () => {
    origin.behave((socket) => void socket.resume());
    using client = await open();
    const stream = client.session.request({ ":path": "/", ":method": "POST", "content-length": "10" });
    const answered = answerOf(stream);
    stream.write("abc");
    const answer = await answered;
    expect([answer.status, answer.headers["sallyport-reason"]]).toEqual([408, "request-timeout"]);
    origin.behave(answerRequests(() => OK));
    expect((await ask(client.session)).status).toBe(200);
  });
});

test("HTTP/2 is not spoken in the clear, nor upgraded to", async () => {
  const socket = await tls(["http/1.1"]);
  let received = "";
  socket.on("data", (chunk: Buffer) => (received += chunk.toString("latin1")));
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  await once(socket, "close");
  expect(received).toMatch(/^HTTP\/1\.1 (?:400|505) /);
  expect(origin.received).toBe("");
});
