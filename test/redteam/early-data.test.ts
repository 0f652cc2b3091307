// What a sandbox sends right behind an upgrade is frames only once the origin has agreed: before that it is the next request,
// and reaches nobody.

import { afterAll, expect, test } from "vitest";
import { OK, recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { wire } from "../support/wire.ts";

const origin = await recordingOrigin();
const proxy = await runSallyport(`
upstream: { hosts: { free.test: [127.0.0.1], other.test: [127.0.0.1], limited.test: [127.0.0.1] } }
anonymous: default
policies:
  default:
    allow:
      - { host: free.test, methods: all, networks: [127.0.0.0/8] }
      - { host: other.test, methods: all, networks: [127.0.0.0/8] }
      - { host: limited.test, networks: [127.0.0.0/8] }
`);
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

const FRAME = "\x81\x05hello";
const AGREED = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
const upgrade = (host: string, token = "websocket"): string =>
  `GET http://${host}:${origin.port}/ HTTP/1.1\r\nHost: ${host}:${origin.port}\r\n` +
  `Connection: upgrade\r\nUpgrade: ${token}\r\n\r\n${FRAME}`;

test.each([
  { name: "under a method limit", octets: upgrade("limited.test"), statuses: ["403", "400"], reached: 0 },
  { name: "to h2c", octets: upgrade("free.test", "h2c"), statuses: ["200", "400"], reached: 1 },
  {
    name: "that the origin does not take",
    octets: upgrade("free.test"),
    statuses: ["200", "400"],
    reached: 1,
  },
])("an upgrade $name", async ({ octets, statuses, reached }) => {
  origin.reset();
  origin.behave((socket) => socket.on("data", () => socket.write(OK)));
  using one = await wire(proxy.port);
  one.send(octets);
  expect((await one.rest()).match(/(?<=HTTP\/1\.1 )\d+/g)).toEqual(statuses);
  expect(origin.received.match(/^GET /gm) ?? []).toHaveLength(reached);
  expect(origin.received).not.toContain("hello");
});

test("an upgrade that the origin takes: the frame follows its 101, and not before", async () => {
  let agree = (): void => {};
  origin.reset();
  origin.behave((socket) => (agree = () => socket.write(AGREED)));
  using one = await wire(proxy.port);
  // A host of its own in the pool: a connection kept from above behaves as it did there.
  one.send(upgrade("other.test"));
  await origin.arrived((text) => text.includes("\r\n\r\n"));
  expect(origin.received).not.toContain("hello");
  agree();
  await origin.arrived((text) => text.endsWith(FRAME));
  expect(one.received).toMatch(/^HTTP\/1\.1 101 /);
});
