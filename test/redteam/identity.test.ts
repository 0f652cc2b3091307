// One sandbox guesses; it costs it, and nobody else what they have begun.

import { expect, test } from "vitest";
import { runSallyport } from "../support/sallyport.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { type Wire, wire } from "../support/wire.ts";

const basic = (text: string): string =>
  `Proxy-Authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`;
const RIGHT = basic("ci:a-very-long-secret");

test("guesses from a shared source do not end what right credentials began, nor stick to a connection", async () => {
  await using origin = await recordingOrigin();
  const host = `origin.test:${origin.port}`;
  const yaml = (methods: string): string => `
upstream: { hosts: { origin.test: [127.0.0.1] } }
policies: { default: { methods: ${methods}, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
sandboxes: [{ id: ci, secret: a-very-long-secret, policy: default }]
`;
  await using proxy = await runSallyport(yaml("all"));
  let count = 0;
  const ask = async (one: Wire, credentials: string): Promise<number> => {
    const before = one.received.length;
    one.send(`GET http://${host}/${++count} HTTP/1.1\r\nHost: ${host}\r\n${credentials}\r\n`);
    const answer = (await one.until((text) => text.slice(before).includes("\r\n\r\n"))).slice(before);
    return Number(answer.slice(9, 12));
  };
  using known = await wire(proxy.port);
  expect(await ask(known, RIGHT)).toBe(200);
  using guesser = await wire(proxy.port);
  for (let at = 0; at < 12; at++) expect(await ask(guesser, basic(`ci:guess-number-${at}`))).toBe(407);
  using newcomer = await wire(proxy.port);
  expect(await ask(newcomer, RIGHT)).toBe(407);

  expect(await proxy.reconfigure(yaml("read-only"))).toBe(true);
  expect(await ask(known, RIGHT)).toBe(200);
  // Once the wait (of seconds) is over, the newcomer's connection is as good as a new one.
  await expect.poll(() => ask(newcomer, RIGHT), { timeout: 15_000, interval: 500 }).toBe(200);
}, 20_000);

test("an empty credentials field is not the same as none", async () => {
  await using proxy = await runSallyport("anonymous: default\npolicies: { default: {} }\n");
  using one = await wire(proxy.port);
  const get = "GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n";
  one.send(`${get}\r\n`);
  await one.until((text) => text.includes("host-not-allowed"));
  one.send(`${get}Proxy-Authorization:\r\n\r\n`);
  await one.until((text) => text.includes("credentials-wrong"));
  expect(one.received.match(/^HTTP\/1\.1 \d+/gm)).toEqual(["HTTP/1.1 403", "HTTP/1.1 407"]);
});
