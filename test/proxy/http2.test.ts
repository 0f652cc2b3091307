// HTTP/2 with sandboxes, towards HTTP/1.1 origins: what passes, how it passes, and that streams do not meet.

import { once } from "node:events";
import type { Socket } from "node:net";
import { constants } from "node:http2";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { answerOf, ask, type Client, http2Client, tunnelTls } from "../support/http2.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { exchanges, settled } from "./wire.ts";
import { trustFile } from "./trust-file.ts";

let ca: Issued;
let origin: RecordingOrigin;
let proxy: RunningSallyport;
let authority: string;
let recorded = 0;

beforeAll(async () => {
  ca = createCa();
  origin = await recordingOrigin(ca.issue({ names: ["origin.test", "fetch.test"] }));
  authority = `origin.test:${origin.port}`;
  proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1], fetch.test: [127.0.0.1] } }
anonymous: default
http2: always
limits: { drain: 1s, body_idle: 2s, response_head: 3s }
policies:
  default:
    preset: none
    methods: all
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: fetch.test, networks: [127.0.0.0/8], methods: [GET] }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  origin.behave(answerRequests(() => OK));
  origin.reset();
});

const open = (host = authority): Promise<Client> =>
  http2Client(proxy.port, { authority: host, trustAnchor: proxy.trustAnchor });
const found = async (enough: number) => {
  const all = await proxy.recorded(
    (records) =>
      exchanges(records.slice(recorded)).filter(({ completion }) => completion !== undefined).length >=
      enough,
  );
  return exchanges(all.slice(recorded)).filter(({ decision }) => decision["kind"] !== "connect");
};

/** The origin's connection once it got octets. */
function asked(): Promise<Socket> {
  return new Promise((resolve) => {
    origin.behave((socket) => void socket.once("data", () => resolve(socket)));
  });
}

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
        return `HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`;
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
