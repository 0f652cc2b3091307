// All connections are read through one buffer: what came behind an answer's head has to stay as it was until somebody takes it.

import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { parseAuthority } from "../../src/net/authority.ts";
import type { UpstreamAnswer } from "../../src/upstream/engine.ts";
import { createCa } from "../support/pki.ts";
import { LOOPBACK, requestOf, upstreamOver } from "./asking.ts";

const letter = (index: number): string => String.fromCharCode(0x61 + index);

test.each([1, 300, 5_000])("%i octets behind a head wait while others are read", async (length) => {
  const server = createServer((socket) => {
    socket.on("data", (chunk) => {
      const own = /\/(\w) HTTP/.exec(chunk.toString("latin1"))?.[1] ?? "";
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n${own.repeat(length)}`);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const target = parseAuthority(`127.0.0.1:${port}`);
  if (target === undefined) throw new Error("no target");
  const upstream = upstreamOver(createCa());
  const answers: UpstreamAnswer[] = [];
  for (let index = 0; index < 12; index++) {
    const origin = { scheme: "http", target, partition: "one", by: "1.1" } as const;
    const connection = await upstream.connect(origin, LOOPBACK);
    answers.push(await connection.send(requestOf({ target: `/${letter(index)}` }), () => {}));
  }
  const bodies = answers.map(
    ({ body }) =>
      new Promise<string>((resolve, reject) => {
        let text = "";
        body.pipe({
          write: (chunk) => ((text += chunk.toString("latin1")), true),
          end: () => resolve(text),
          abort: (reason) => reject(new Error(reason)),
          onDrain: undefined,
        });
      }),
  );
  expect(await Promise.all(bodies)).toEqual(answers.map((_, index) => letter(index).repeat(length)));
  upstream.close();
  server.close();
});
