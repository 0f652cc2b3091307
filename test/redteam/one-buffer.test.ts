// All connections are read through one buffer: what one sandbox sends, or is sent, must never turn up in another's.

import type { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { tunnelWire, wire, type Wire } from "../support/wire.ts";

const SANDBOXES = 24;
const OCTETS = 90_000;
/** One of its own for each, that no head has. */
const letter = (index: number): string => String.fromCharCode(0xc0 + index);

/** Gives back what it is sent, now and then only after it has not read for a while. */
function echo(socket: Socket): void {
  let begun = false;
  let reads = 0;
  socket.on("data", (chunk: Buffer) => {
    const text = chunk.toString("latin1");
    const body = begun ? text : text.slice(text.indexOf("\r\n\r\n") + 4);
    if (!begun) socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${OCTETS}\r\n\r\n`);
    begun = true;
    socket.write(body, "latin1");
    if (++reads % 3 !== 0) return;
    socket.pause();
    setTimeout(() => socket.resume(), reads % 5);
  });
}

test.each(["in TLS", "as it is"])("uploads and answers of many at once, %s", async (how) => {
  const ca = createCa();
  await using origin = await recordingOrigin(
    how === "in TLS" ? ca.issue({ names: ["origin.test"] }) : undefined,
  );
  origin.behave(echo);
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] }, trust: [${await trustFile(ca)}] }
anonymous: default
policies: { default: { methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
`);
  const authority = `origin.test:${origin.port}`;
  const { trustAnchor, port } = proxy;
  const open = (): Promise<Wire> =>
    how === "in TLS" ? tunnelWire(port, { authority, trustAnchor }) : wire(port);
  const sandboxes = await Promise.all(Array.from({ length: SANDBOXES }, open));
  const target = how === "in TLS" ? "/" : `http://${authority}/`;
  for (const { send } of sandboxes)
    send(`PUT ${target} HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: ${OCTETS}\r\n\r\n`);
  for (let sent = 0, piece = 1; sent < OCTETS; sent += piece, piece = 1 + ((piece * 37) % 4001)) {
    for (const [index, { send, socket }] of sandboxes.entries()) {
      send(letter(index).repeat(Math.min(piece, OCTETS - sent)));
      // Some do not read for a while, so that what is meant for them waits.
      if ((sent + index) % 7 === 0) socket.pause();
      else socket.resume();
    }
    await turn();
  }
  for (const [index, { until, socket }] of sandboxes.entries()) {
    socket.resume();
    const answer = await until((text) => text.length >= text.indexOf("\r\n\r\n") + 4 + OCTETS);
    expect(answer.slice(answer.indexOf("\r\n\r\n") + 4)).toBe(letter(index).repeat(OCTETS));
    socket.destroy();
  }
  for (let index = 0; index < SANDBOXES; index++)
    expect(origin.received.split(letter(index)).length - 1).toBe(OCTETS);
});

/** Answers each request with the value of its X-Own. */
function mirror(socket: Socket): void {
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    for (let end = text.indexOf("\r\n\r\n"); end !== -1; end = text.indexOf("\r\n\r\n")) {
      const own = /X-Own: (.*)\r\n/.exec(text.slice(0, end + 2))?.[1] ?? "";
      text = text.slice(end + 4);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${own.length}\r\n\r\n${own}`, "latin1");
    }
  });
}

test("heads of many at once: whole and alone, behind one another, and cut", async () => {
  await using origin = await recordingOrigin();
  origin.behave(mirror);
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies: { default: { allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
`);
  const authority = `origin.test:${origin.port}`;
  const sandboxes = await Promise.all(Array.from({ length: SANDBOXES }, () => wire(proxy.port)));
  const own = (index: number, part: number): string => letter(index).repeat(100 + part);
  const head = (index: number, part: number): string =>
    `GET http://${authority}/${part} HTTP/1.1\r\nHost: ${authority}\r\nX-Own: ${own(index, part)}\r\n\r\n`;
  for (let part = 0; part < 30; part += 3) {
    for (const [index, { send }] of sandboxes.entries()) send(head(index, part));
    await turn();
    for (const [index, { send }] of sandboxes.entries()) {
      const two = head(index, part + 1) + head(index, part + 2);
      const cut = (index * 31 + part * 7) % two.length;
      send(two.slice(0, cut));
      await turn();
      send(two.slice(cut));
    }
  }
  for (const [index, { until, socket }] of sandboxes.entries()) {
    const last = `\r\n\r\n${own(index, 29)}`;
    const answers = await until((text) => text.endsWith(last));
    const bodies = answers.split(/HTTP\/1\.1 200 OK\r\n/).slice(1);
    expect(bodies.map((answer) => answer.slice(answer.indexOf("\r\n\r\n") + 4))).toEqual(
      Array.from({ length: 30 }, (_, part) => own(index, part)),
    );
    socket.destroy();
  }
});
