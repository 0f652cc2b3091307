// gRPC as sandboxes use it, through the whole proxy as it is configured by default, to a service that speaks HTTP/2 alone: every
// kind of call, errors, half-closes, cancelling, and what is refused or cut. And the mixes of protocols on the two sides.

import { once } from "node:events";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, describe, expect, test } from "vitest";
import { call, grpcService, message } from "../support/grpc.ts";
import { ask, type Client } from "../support/http2.ts";
import { openTunnel, Wire } from "./wire.ts";
import { http2SetUp } from "../support/http2-set-up.ts";

const policy = (rules: string): string => `
    preset: none
    methods: read-only
    allow: [{ host: origin.test, networks: [127.0.0.0/8], ${rules} }]`;
const { certificate, client, origin, proxy, requests, yaml } = await http2SetUp({
  top: "limits: { drain: 500ms }",
  policy: policy("methods: [POST], paths: [/shop.Orders/*]"),
});
const service = await grpcService(certificate);
afterAll(() => service[Symbol.asyncDispose]());

const open = (port = service.port): Promise<Client> => client(`origin.test:${port}`);
const tunnel = async (): Promise<Wire> => {
  const wire = await openTunnel({
    port: proxy.port,
    target: `origin.test:${service.port}`,
    tls: { servername: "origin.test", ca: proxy.trustAnchor },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  return wire;
};
const DONE = { code: 0, trailers: expect.objectContaining({ "grpc-status": "0", "x-sum": "7" }) };

describe("a call", () => {
  test("unary: one message up, one down, trailers", async () => {
    using client = await open();
    const { stream, messages, head, end } = call(client.session, "Unary");
    stream.end(message("order"));
    expect(await head).toMatchObject({ ":status": 200, "content-type": "application/grpc" });
    expect(await end).toEqual(DONE);
    expect(messages.got).toEqual(["order"]);
    const [one] = await requests();
    expect(one?.decision).toMatchObject({ verdict: "allow", method: "POST", path: "/shop.Orders/Unary" });
    expect(one?.completion).toMatchObject({ outcome: "completed", status: 200, address: "127.0.0.1" });
  });

  test("client streaming: each message is there before the next is said", async () => {
    using client = await open();
    const { stream, messages, head, end } = call(client.session, "Collect");
    stream.write(message("a"));
    await head;
    const there = service.calls.at(-1);
    for (const [at, text] of ["b", "c"].entries()) {
      await there?.messages.until(() => there.messages.got.length > at);
      stream.write(message(text));
    }
    stream.end();
    expect(await end).toEqual(DONE);
    expect(messages.got).toEqual(["a+b+c"]);
  });

  test("server streaming: each message arrives before the next is said", async () => {
    using client = await open();
    const { stream, messages, end } = call(client.session, "Tick");
    stream.end(message("go"));
    for (let at = 1; at <= 3; at++) {
      await messages.until(() => messages.got.length === at);
      const there = service.calls.at(-1)?.stream;
      if (at < 3) there?.write(message(`tick ${at + 1}`));
      else there?.end();
    }
    expect(await end).toEqual(DONE);
    expect(messages.got).toEqual(["tick 1", "tick 2", "tick 3"]);
  });

  test("both ways at once: one answers the other; the sandbox's half-close ends it", async () => {
    using client = await open();
    const { stream, messages, end } = call(client.session, "Echo");
    for (const [at, text] of ["one", "two", "three"].entries()) {
      stream.write(message(text));
      await messages.until(() => messages.got.length > at);
    }
    stream.end();
    expect(await end).toEqual(DONE);
    expect(messages.got).toEqual(["<one>", "<two>", "<three>"]);
  });

  test("an error of the service is its own: a head that is the whole answer", async () => {
    using client = await open();
    const { stream, head, end } = call(client.session, "Fail");
    stream.end(message("order"));
    const answer = await head;
    expect(answer).toMatchObject({ "grpc-status": "5", "grpc-message": "no such order" });
    expect(answer["sallyport-reason"]).toBeUndefined();
    expect(await end).toMatchObject({ code: 0, trailers: undefined });
  });

  test("many at once are told apart", async () => {
    using client = await open();
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, at) => {
        const one = call(client.session, "Unary");
        one.stream.end(message(`${at}`));
        await one.end;
        return one.messages.got;
      }),
    );
    expect(answers).toEqual(Array.from({ length: 20 }, (_, at) => [`${at}`]));
  });
});

describe("what does not go on", () => {
  test("cancelled by the sandbox: the service's stream is reset, the record says aborted", async () => {
    using client = await open();
    const { stream, messages } = call(client.session, "Echo");
    stream.write(message("one"));
    await messages.until(() => messages.got.length === 1);
    const there = service.calls.at(-1)?.stream;
    const gone = new Promise((resolve) => there?.once("close", resolve));
    stream.close(8);
    await gone;
    expect(there?.rstCode).toBe(8);
    const [one] = await requests();
    expect(one?.completion).toMatchObject({ outcome: "aborted" });
    // The connection lives.
    const next = call(client.session, "Unary");
    next.stream.end(message("next"));
    expect(await next.end).toEqual(DONE);
  });

  test("cancelled before there is an answer: the service hears of it all the same", async () => {
    using client = await open();
    const before = service.calls.length;
    const { stream } = call(client.session, "Hang");
    stream.write(message("one"));
    await expect.poll(() => service.calls.length).toBe(before + 1);
    const there = service.calls.at(-1);
    await there?.messages.until(() => there.messages.got.length === 1);
    const gone = new Promise((resolve) => there?.stream.once("close", resolve));
    stream.close(8);
    await gone;
    expect(there?.stream.rstCode).toBe(8);
    const [one] = await requests();
    expect(one?.completion).toMatchObject({ outcome: "aborted" });
  });

  test("no longer allowed: cut in mid-stream, on both sides", async () => {
    using client = await open();
    const { stream, messages, end } = call(client.session, "Echo");
    stream.write(message("one"));
    await messages.until(() => messages.got.length === 1);
    const there = service.calls.at(-1)?.stream;
    const gone = new Promise((resolve) => there?.once("close", resolve));
    expect(await proxy.reconfigure(yaml({ policy: policy("methods: [POST], paths: [/shop.Stock/*]") }))).toBe(
      true,
    );
    const { code, trailers } = await end;
    expect([code, trailers]).toEqual([expect.any(Number), undefined]);
    expect(code).not.toBe(0);
    await gone;
    const [one] = await requests();
    expect(one?.completion).toMatchObject({ outcome: "refused", reason: "policy-changed" });

    const before = service.calls.length;
    const refused = call(client.session, "Unary");
    refused.stream.end(message("order"));
    expect(await refused.head).toMatchObject({
      ":status": 200,
      "grpc-status": "7",
      "grpc-message": expect.stringMatching(/^sallyport: path-not-allowed: /) as string,
      "sallyport-reason": "path-not-allowed",
    });
    expect(service.calls.length).toBe(before);
    expect(await proxy.reconfigure(yaml())).toBe(true);
  });

  test("the service is gone in mid-stream: a reset, and a fault on record; never an end in order", async () => {
    using client = await open();
    const { stream, messages, end } = call(client.session, "Echo");
    stream.write(message("one"));
    await messages.until(() => messages.got.length === 1);
    service.calls.at(-1)?.stream.session?.destroy();
    expect((await end).code).not.toBe(0);
    const [one] = await requests();
    expect(one?.completion).toMatchObject({ outcome: "fault" });
  });
});

describe("other mixes", () => {
  test("HTTP/1.1 to a service that speaks HTTP/2 alone", async () => {
    await using wire = await tunnel();
    const body = message("order");
    wire.write(
      `POST /shop.Orders/Unary HTTP/1.1\r\nHost: origin.test:${service.port}\r\nTE: trailers\r\nContent-Type: application/grpc\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    wire.write(body);
    const answer = await wire.answer("POST");
    expect(answer.status).toBe(200);
    expect(answer.body).toContain("order");
    expect(answer.body).toMatch(/\r\n0\r\n[^]*x-sum: 7\r\n\r\n$/);
    wire.socket.destroy();
    expect(await requests()).toHaveLength(1);
  });

  test("HTTP/2 to an origin that speaks HTTP/1.1 alone", async () => {
    using client = await open(origin.port);
    const answer = await ask(
      client.session,
      { ":method": "POST", ":path": "/shop.Orders/Unary", te: "trailers" },
      "order",
    );
    expect(answer).toMatchObject({ status: 200, body: "ok\n", code: 0 });
    expect(origin.received).toMatch(/^POST \/shop\.Orders\/Unary HTTP\/1\.1\r\n/);
    expect(origin.received).toMatch(/\r\n\r\n(?:5\r\n)?order/);
  });
});

describe("events of minutes", () => {
  const get = policy("methods: [GET]");

  test.each(["HTTP/1.1", "HTTP/2"])("server-sent events to %s: each before the next", async (protocol) => {
    expect(await proxy.reconfigure(yaml({ policy: get }))).toBe(true);
    const before = service.calls.length;
    using client = protocol === "HTTP/2" ? await open() : undefined;
    await using wire = protocol === "HTTP/2" ? undefined : await tunnel();
    let got = "";
    if (client !== undefined) {
      const stream = client.session.request({ ":path": "/shop.Orders/Tick", accept: "text/event-stream" });
      stream.on("error", () => {});
      stream.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
    } else {
      wire?.write(`GET /shop.Orders/Tick HTTP/1.1\r\nHost: origin.test:${service.port}\r\n\r\n`);
      wire?.socket.on("data", (chunk: Buffer) => (got += chunk.toString("latin1")));
    }
    for (const event of ["tick 1", "data: 2\n\n", "data: 3\n\n"]) {
      if (event !== "tick 1") service.calls.at(-1)?.stream.write(event);
      await expect.poll(() => got).toContain(event);
    }
    expect(service.calls.length).toBe(before + 1);
    service.calls.at(-1)?.stream.end();
    const [one] = await requests();
    expect(one?.completion).toMatchObject({ outcome: "completed" });
  });

  test("a long poll: answered when there is something to say", async () => {
    const server = createServer({ cert: certificate.chain, key: certificate.key });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    expect(await proxy.reconfigure(yaml({ policy: get }))).toBe(true);
    using client = await open(port);
    const asked = once(server, "request");
    const answer = ask(client.session, { ":path": "/poll" });
    const [, response] = (await asked) as [unknown, { end(text: string): void }];
    // Others are answered meanwhile.
    const other = once(server, "request");
    const second = ask(client.session, { ":path": "/other" });
    ((await other) as [unknown, { end(text: string): void }])[1].end("other");
    expect(await second).toMatchObject({ status: 200, body: "other" });
    response.end("news");
    expect(await answer).toMatchObject({ status: 200, body: "news", code: 0 });
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});
