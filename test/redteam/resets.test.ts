// A sandbox that goes away at every moment, in every way, before every kind of origin: each decision has one completion, and
// nothing stays open.

import { once } from "node:events";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { afterAll, expect, test } from "vitest";
import { exchanges } from "../support/audit-records.ts";
import { createCa } from "../support/pki.ts";
import { type Behaviour, OK, recordingOrigin } from "../support/recording-origin.ts";
import { trustFile } from "../support/trust-file.ts";
import { runSallyport } from "../support/sallyport.ts";
import { type Wire, wire } from "../support/wire.ts";

const ca = createCa();
const origin = await recordingOrigin(ca.issue({ names: ["origin.test", "spliced.test"] }));
const proxy = await runSallyport(`
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1], spliced.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    methods: all
    allow: [{ host: "*.test", networks: [127.0.0.0/8] }]
    splice: [spliced.test]
limits: { body_idle: 500ms, handshake: 500ms, head_time: 500ms, idle: 500ms, response_head: 1s, tunnel_idle: 500ms }
`);
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

const says =
  (...texts: readonly string[]): Behaviour =>
  (socket) =>
    void socket.once("data", () => texts.forEach((text) => socket.write(text, "latin1")));
const ORIGINS: Readonly<Record<string, Behaviour>> = {
  answers: says(OK),
  "is silent": () => {},
  "closes at once": (socket) => void socket.destroy(),
  "closes midway": (socket) =>
    void socket.once("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")),
  "never ends": says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n"),
  "talks nonsense": says("\0\0\r\n\r\n"),
  upgrades: says("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello"),
};
const REQUESTS = [
  "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: HOST\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nEARLY",
  "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\n\r\nab",
  "GET / HTTP/1.1\r\nHo",
];
const ENDS: Readonly<Record<string, (socket: Socket) => void>> = {
  reset: (socket) => socket.resetAndDestroy(),
  end: (socket) => socket.end(),
};

async function tunnel(
  host: string,
  request: string,
  leave: (socket: Socket) => void,
  at: number,
): Promise<void> {
  const authority = `${host}:${origin.port}`;
  using outer: Wire = await wire(proxy.port, { halfOpen: true });
  const socket = outer.socket;
  outer.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  if (at > 0) {
    await outer.until((text) => text.includes("\r\n\r\n"));
    socket.removeAllListeners("data");
    const secured = connectTls({ socket, servername: host, ca: [proxy.trustAnchor, ca.cert] });
    secured.on("error", () => {});
    if (at > 1) {
      await Promise.race([
        once(secured, "secureConnect"),
        once(secured, "close").catch(() => {}),
        sleep(300),
      ]);
      secured.on("data", () => {});
      secured.write(request.replace("HOST", authority));
    }
    await sleep(at * 2);
  }
  leave(socket);
  await sleep(30);
}

test.each(Object.keys(ORIGINS))("before an origin that %s", { timeout: 20_000 }, async (name) => {
  origin.behave(ORIGINS[name]!);
  const all = ["origin.test", "spliced.test"].flatMap((host) =>
    REQUESTS.flatMap((request) =>
      Object.values(ENDS).flatMap((leave) => [0, 1, 2, 8].map((at) => tunnel(host, request, leave, at))),
    ),
  );
  await Promise.all(all);
  await expect
    .poll(
      async () =>
        (await proxy.metrics()).match(/^sallyport_(?:connections_open|exchanges_in_flight\S*) [^0]/gm),
      {
        timeout: 10_000,
      },
    )
    .toBeNull();
  const records = await proxy.recorded((some) => exchanges(some).every(({ completions }) => completions > 0));
  expect(exchanges(records).filter(({ completions }) => completions !== 1)).toEqual([]);
});
