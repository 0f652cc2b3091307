// Who was given a connection to an origin, and who has it now: nobody ends the exchange of another through the pool.

import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { expect, test } from "vitest";
import { parseAddress } from "../../src/net/address.ts";
import { DEFAULT_LIMITS } from "../../src/net/limits.ts";
import { Http1Client } from "../../src/upstream/http1-client.ts";
import { OK, recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { wire } from "../support/wire.ts";

test("who lingers after its answer cannot cut the exchange that got its connection next", async () => {
  await using origin = await recordingOrigin();
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`);
  const host = `origin.test:${origin.port}`;
  let answer = (): void => {};
  origin.behave((socket) =>
    socket.on("data", (chunk: Buffer) => {
      if (chunk.includes("/victim")) answer = () => socket.write(OK);
      else socket.write(OK);
    }),
  );
  using attacker = await wire(proxy.port, { halfOpen: true });
  attacker.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  await attacker.rest();

  using victim = await wire(proxy.port);
  victim.send(`POST http://${host}/victim HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1\r\n\r\nx`);
  await origin.arrived((text) => text.includes("/victim"));
  expect(origin.connections).toBe(1);
  attacker.socket.resetAndDestroy();
  await expect.poll(() => proxy.metrics()).toMatch(/^sallyport_connections_open 1$/m);
  answer();
  expect(await victim.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1\.1 200 /);
});

test("a connection that was closed while idle has answered nothing of the next request", async () => {
  const server = createServer((socket) =>
    socket.once("data", () => {
      socket.write(OK);
    }),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  let idle = (): void => {};
  const freed = new Promise<void>((resolve) => (idle = resolve));
  const client = new Http1Client({
    socket,
    address: parseAddress("127.0.0.1")!,
    limits: DEFAULT_LIMITS,
    onIdle: () => idle(),
    onClose: () => {},
  });
  const body = { length: { kind: "none" }, pipe: () => {}, stop: () => {} } as const;
  const request = {
    method: "GET",
    target: "/",
    headers: ["Host", "origin.test"],
    body,
    upgrade: undefined,
    trailers: false,
  };
  const answer = await client.send(request, () => {});
  answer.body.pipe({ write: () => true, end: () => {}, abort: () => {}, onDrain: undefined });
  await freed;

  (await accepted)[0].destroy();
  await once(socket, "close");
  await expect(client.send(request, () => {})).rejects.toMatchObject({ reason: "upstream-reset" });
  // Else the request would not be sent again, and fail for a reason that the sandbox cannot help.
  expect({ reused: client.reused, answering: client.answering }).toEqual({ reused: true, answering: false });
  server.close();
});
