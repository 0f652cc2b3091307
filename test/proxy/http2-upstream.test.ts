// The whole proxy in front of origins that speak HTTP/2, asked by sandboxes that speak HTTP/1.1: what leaves, what is recorded,
// what is sent again, and how a cut stays visible.

import { type ServerHttp2Stream } from "node:http2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AuditRecord } from "../support/audit-records.ts";
import { data, goaway, headers, http2Origin, onRequests, type Peer, reset } from "../support/http2-origin.ts";
import { END_HEADERS, END_STREAM, HEADERS, RST_STREAM, u32 } from "../support/http2-octets.ts";
import { createCa } from "../support/pki.ts";
import { trustFile } from "../support/trust-file.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { openTunnel, Wire } from "./wire.ts";
import { http2Server } from "../support/http2-server.ts";

const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
const trust = await trustFile(ca);
let proxy: RunningSallyport;

const configuration = (rules = ""): string => `
upstream: { hosts: { origin.test: [127.0.0.1] }, trust: [${trust}], http2: always }
policies: { default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8]${rules} }] } }
sandboxes:
  - { id: one, secret: one-one-one-one-one, policy: default }
  - { id: two, secret: two-two-two-two-two, policy: default }
`;

beforeAll(async () => {
  proxy = await runSallyport(configuration());
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

async function tunnelTo(port: number, id = "one", through = proxy): Promise<Wire> {
  const secret = Buffer.from(`${id}:${Array(5).fill(id).join("-")}`).toString("base64");
  const wire = await openTunnel({
    port: through.port,
    target: `origin.test:${port}`,
    headers: `Proxy-Authorization: Basic ${secret}\r\n`,
    tls: { servername: "origin.test", ca: through.trustAnchor },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  return wire;
}

let asked = 0;
const ask = (wire: Wire, port: number, { method = "GET", more = "", path = `/${++asked}` } = {}): string => {
  wire.write(`${method} ${path} HTTP/1.1\r\nHost: origin.test:${port}\r\n${more || "\r\n"}`);
  return path;
};

async function recordsOf(path: string): Promise<AuditRecord[]> {
  const ofPath = (all: AuditRecord[]): AuditRecord[] => {
    const id = all.find((one) => one["path"] === path)?.["id"];
    return all.filter((one) => id !== undefined && one["id"] === id);
  };
  return ofPath(await proxy.recorded((all) => ofPath(all).some(({ type }) => type === "completion")));
}

const answered = (peer: Peer, stream: number): void =>
  peer.send(headers(stream, [":status", "200"]), data(stream, "ok", END_STREAM));

test("what leaves is the request that was judged, and nothing of the proxy's credentials", async () => {
  const seen: string[][] = [];
  await using over = await http2Server(certificate);
  const { port, server } = over;
  server.on("stream", (stream: ServerHttp2Stream, _fields: object, _flags: number, raw: string[]) => {
    seen.push(raw);
    stream.respond({ ":status": 200, "x-from": "h2" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "1" }));
    stream.end("body");
  });
  await using wire = await tunnelTo(port);
  const more =
    "Proxy-Authorization: Basic x\r\nConnection: X-Hop, TE\r\nX-Hop: 1\r\nTE: trailers\r\nX-Kept: Yes\r\n\r\n";
  const path = ask(wire, port, { more });
  const answer = await wire.answer();
  expect(answer.status).toBe(200);
  expect(answer.field("x-from")).toBe("h2");
  expect(answer.body).toBe("4\r\nbody\r\n0\r\nx-sum: 1\r\n\r\n");
  expect(seen).toEqual([
    [
      ":method",
      "GET",
      ":scheme",
      "https",
      ":authority",
      `origin.test:${port}`,
      ":path",
      path,
      "x-kept",
      "Yes",
      "via",
      expect.stringMatching(/^1\.1 sallyport-/),
      "te",
      "trailers",
    ],
  ]);
  const [decision, completion] = await recordsOf(path);
  expect(decision).toMatchObject({ type: "decision", verdict: "allow", host: "origin.test" });
  expect(completion).toMatchObject({
    type: "completion",
    outcome: "completed",
    status: 200,
    address: "127.0.0.1",
  });
  expect(completion?.["bytesUp"]).toBeGreaterThan(100);
  expect(await proxy.metrics()).toContain('sallyport_upstream_protocols_total{protocol="h2"} 1\n');
});

test("what is refused makes no stream and no connection", async () => {
  await using origin = await http2Origin(certificate, onRequests(answered));
  await using wire = await tunnelTo(origin.port);
  wire.write("GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n");
  expect((await wire.answer()).status).toBe(403);
  expect(origin.peers.length).toBe(0);
});

test("a sandbox's requests share a connection; two sandboxes' never do", async () => {
  await using origin = await http2Origin(certificate, onRequests(answered));
  await using one = await tunnelTo(origin.port);
  await using same = await tunnelTo(origin.port);
  await using other = await tunnelTo(origin.port, "two");
  for (const wire of [one, same, other]) ask(wire, origin.port);
  expect(
    (await Promise.all([one, same, other].map((wire) => wire.answer()))).map(({ status }) => status),
  ).toEqual([200, 200, 200]);
  expect(
    origin.peers
      .map(({ frames }) => frames.filter(({ type }) => type === HEADERS).length)
      .toSorted((a, b) => a - b),
  ).toEqual([1, 2]);
});

describe("what the origin did not process is sent again, once", () => {
  const refuse = (peer: Peer, stream: number): void => peer.send(reset(stream, 7));
  const goAway = (peer: Peer): void => peer.send(goaway(0, 0));
  const cancel = (peer: Peer, stream: number): void => peer.send(reset(stream, 8));
  const first =
    (times: number, no: (peer: Peer, stream: number) => void) =>
    (): ((peer: Peer, stream: number) => void) => {
      let left = times;
      return (peer, stream) => (left-- > 0 ? no(peer, stream) : answered(peer, stream));
    };
  type Case = {
    readonly name: string;
    readonly behave: () => (peer: Peer, stream: number) => void;
    readonly method?: string;
    readonly more?: string;
    readonly status: number;
    readonly times: number;
  };
  const cases: readonly Case[] = [
    { name: "refused", behave: first(1, refuse), status: 200, times: 2 },
    {
      name: "refused, with another method",
      behave: first(1, refuse),
      method: "DELETE",
      status: 200,
      times: 2,
    },
    { name: "refused twice", behave: first(2, refuse), status: 502, times: 2 },
    {
      name: "refused, but its body is gone",
      behave: first(1, refuse),
      method: "PUT",
      more: "Content-Length: 1\r\n\r\nx",
      status: 502,
      times: 1,
    },
    {
      name: "left out by GOAWAY",
      behave: first(1, goAway),
      method: "POST",
      more: "Content-Length: 0\r\n\r\n",
      status: 200,
      times: 2,
    },
    { name: "cancelled: it may have been processed", behave: first(1, cancel), status: 502, times: 1 },
  ];
  test.each(cases)("$name", async ({ behave, method, more, status, times }) => {
    await using origin = await http2Origin(certificate, onRequests(behave()));
    await using wire = await tunnelTo(origin.port);
    const path = ask(wire, origin.port, { ...(method && { method }), ...(more && { more }) });
    const answer = await wire.answer();
    expect(answer.status).toBe(status);
    if (status !== 200) expect(answer.field("sallyport-reason")).toBe("upstream-reset");
    const heads = origin.peers.flatMap(({ frames }) => frames.filter(({ type }) => type === HEADERS));
    expect(heads.length).toBe(times);
    expect((await recordsOf(path)).map(({ type }) => type)).toEqual(["decision", "completion"]);
  });

  test("over HTTP/1.1, where the origin asks for that", async () => {
    await using origin = await http2Origin(
      certificate,
      (peer) => {
        if (peer.socket.alpnProtocol === "h2")
          return onRequests((one, stream) => one.send(reset(stream, 13)))(peer);
        peer.socket.on("data", () => peer.socket.write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none"));
      },
      { alpn: ["h2", "http/1.1"] },
    );
    await using wire = await tunnelTo(origin.port);
    for (let times = 0; times < 2; times++) {
      ask(wire, origin.port);
      expect(await wire.answer()).toMatchObject({ status: 200, body: "one" });
    }
    expect(origin.peers.map(({ socket }) => socket.alpnProtocol)).toEqual(["h2", "http/1.1"]);
  });
});

test.each([
  ["RST_STREAM NO_ERROR", (peer: Peer, stream: number) => peer.send(reset(stream, 0)), "upstream-reset"],
  ["RST_STREAM CANCEL", (peer: Peer, stream: number) => peer.send(reset(stream, 8)), "upstream-reset"],
  ["a malformed frame", (peer: Peer) => peer.send(data(0, "x")), "upstream-malformed"],
])("an answer that is cut by %s is visibly cut", async (_name, cut, reason) => {
  await using origin = await http2Origin(
    certificate,
    onRequests((peer, stream) => {
      peer.send(headers(stream, [":status", "200"]), data(stream, "half"));
    }),
  );
  await using wire = await tunnelTo(origin.port);
  const path = ask(wire, origin.port);
  await wire.until(() => wire.held.includes("half"));
  const [peer] = origin.peers;
  if (peer !== undefined) cut(peer, 1);
  await wire.close();
  expect(wire.ended).toBe(false);
  expect(wire.all).not.toContain("\r\n0\r\n");
  expect(await recordsOf(path)).toMatchObject([
    { verdict: "allow" },
    { outcome: "fault", reason, status: 200 },
  ]);
});

test("a sandbox that leaves resets its own stream, and no other", async () => {
  await using origin = await http2Origin(
    certificate,
    onRequests((peer, stream) => stream !== 1 && answered(peer, stream)),
  );
  const leaving = await tunnelTo(origin.port);
  const path = ask(leaving, origin.port);
  await expect.poll(() => origin.peers[0]?.frames.some(({ type }) => type === HEADERS)).toBe(true);
  await leaving[Symbol.asyncDispose]();
  const last = await origin.peers[0]?.got(({ type }) => type === RST_STREAM);
  expect(last).toMatchObject({ stream: 1, payload: u32(8) });
  await using wire = await tunnelTo(origin.port);
  ask(wire, origin.port);
  expect(await wire.answer()).toMatchObject({ status: 200 });
  expect(origin.peers.length).toBe(1);
  expect(await recordsOf(path)).toMatchObject([{ verdict: "allow" }, { outcome: "aborted" }]);
});

test("a new generation cuts the stream that it no longer allows; one that it allows goes on", async () => {
  await using own = await runSallyport(configuration());
  await using origin = await http2Origin(
    certificate,
    onRequests((peer, stream) => peer.send(headers(stream, [":status", "200"]), data(stream, "half"))),
  );
  await using kept = await tunnelTo(origin.port, "one", own);
  await using cut = await tunnelTo(origin.port, "one", own);
  ask(kept, origin.port, { path: "/kept" });
  await kept.until(() => kept.held.includes("half"));
  ask(cut, origin.port, { path: "/cut" });
  await cut.until(() => cut.held.includes("half"));
  expect(await own.reconfigure(configuration(", paths: [/kept]"))).toBe(true);
  await cut.close();
  const [peer] = origin.peers;
  expect(await peer?.got(({ type }) => type === RST_STREAM)).toMatchObject({ stream: 3, payload: u32(8) });
  peer?.send(data(1, "whole", END_STREAM));
  expect((await kept.answer()).body).toContain("whole");
  expect(origin.peers.length).toBe(1);
});

test("an upgrade goes by HTTP/1.1", async () => {
  await using origin = await http2Origin(
    certificate,
    (peer) =>
      void peer.socket.on("data", () =>
        peer.socket.write("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"),
      ),
    { alpn: ["h2", "http/1.1"] },
  );
  await using wire = await tunnelTo(origin.port);
  ask(wire, origin.port, { more: "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" });
  await wire.until(() => wire.held.includes("hello"));
  expect(wire.all).toMatch(/^HTTP\/1\.1 101 /);
  expect(origin.peers.map(({ socket }) => socket.alpnProtocol)).toEqual(["http/1.1"]);
});

test.each([
  ["a proxy challenge", [":status", "407", "proxy-authenticate", "Basic"], 502, "upstream-malformed"],
  [
    "words of this proxy's",
    [":status", "200", "sallyport-reason", "x", "proxy-status", "sallyport"],
    200,
    undefined,
  ],
])("%s is not passed on", async (_name, fields, status, reason) => {
  await using origin = await http2Origin(
    certificate,
    onRequests((peer, stream) => peer.send(headers(stream, fields, END_HEADERS | END_STREAM))),
  );
  await using wire = await tunnelTo(origin.port);
  ask(wire, origin.port);
  const answer = await wire.answer();
  expect(answer.status).toBe(status);
  expect(answer.field("sallyport-reason")).toBe(reason);
  expect(answer.field("proxy-authenticate")).toBeUndefined();
});
