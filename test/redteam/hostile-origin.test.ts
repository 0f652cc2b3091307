// Answers that another request could be made to read as its own: told as faults or cut, and the connection they came over
// is never used again.

import { afterAll, expect, test } from "vitest";
import { OK, recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { wire } from "../support/wire.ts";

/** One for each answer: connections are pooled by host. */
const HOSTS = Array.from({ length: 30 }, (_, at) => `origin-${at}.test`);
let asked = 0;
const origin = await recordingOrigin();
const proxy = await runSallyport(`
upstream: { hosts: { ${HOSTS.map((host) => `${host}: [127.0.0.1]`).join(", ")} } }
anonymous: default
policies: { default: { methods: all, allow: [{ host: "*.test", networks: [127.0.0.0/8] }] } }
`);
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

const HEAD = "HTTP/1.1 200 OK\r\n";
const EXTRA = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
const UPGRADE = "Connection: upgrade\r\nUpgrade: websocket\r\n";
type Row = readonly [
  name: string,
  answer: string,
  status: number | "cut",
  asked?: { method?: string; more?: string },
];
const ROWS: readonly Row[] = [
  ["a second answer", OK + EXTRA, 200],
  [
    "a second answer behind chunks",
    `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n${EXTRA}`,
    200,
  ],
  ["an answer behind 204", `HTTP/1.1 204 No Content\r\n\r\n${EXTRA}`, 204],
  ["an answer behind 304", `HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n${EXTRA}`, 304],
  ["a body for HEAD", `${HEAD}Content-Length: 3\r\n\r\nabc`, 200, { method: "HEAD" }],
  ["frames behind a refused upgrade", `${OK}\x81\x02hi`, 200, { more: UPGRADE }],
  ["an upgrade that nobody asked for", `HTTP/1.1 101 X\r\n${UPGRADE}\r\n${EXTRA}`, 502],
  [
    "another upgrade",
    "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    502,
    { more: UPGRADE },
  ],
  ["an interim answer with a body", `HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nabcde${OK}`, 502],
  ["two lengths", `${HEAD}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc`, 502],
  ["length and chunks", `${HEAD}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 502],
  ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502],
  ["a field behind a bare CR", `${HEAD}X: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n`, 502],
  ["a folded field", `${HEAD}Set-Cookie: a\r\n b\r\nContent-Length: 0\r\n\r\n`, 502],
  ["bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", 502],
  ["an empty line first", `\r\n${OK}`, 502],
  ["chunk sizes below zero", `${HEAD}Transfer-Encoding: chunked\r\n\r\n-1\r\nabc`, "cut"],
  ["chunks of bare line feeds", `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n`, "cut"],
];

const CASES = ROWS.map(([name, answer, status, sent]) => ({
  name,
  answer,
  status,
  method: "GET",
  more: "",
  ...sent,
}));

test.each(CASES)("$name", async ({ answer, status, method, more }) => {
  const host = `${HOSTS[asked++]}:${origin.port}`;
  let first = true;
  origin.behave((socket) =>
    socket.on("data", () => {
      socket.write(first ? answer : OK, "latin1");
      first = false;
    }),
  );
  const ask = (verb: string, fields: string): string =>
    `${verb} http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`;
  using one = await wire(proxy.port);
  one.send(ask(method, more));
  const got = await one.until((text) => text.includes("\r\n\r\n"));
  if (status === "cut") expect(one.open).toBe(false);
  else expect(Number(got.slice(9, 12))).toBe(status);

  origin.reset();
  using next = await wire(proxy.port);
  next.send(ask("GET", "Connection: close\r\n"));
  expect(await next.rest()).toMatch(/^HTTP\/1\.1 200 [^]*\r\n\r\nok\n$/);
  expect(origin.connections).toBe(1);
  expect(one.received).not.toContain("smuggled");
});
