// Limits that docs/security.md states plainly are still there. Where one of these fails, a limit has gone: take it out of the page.

import { connect } from "node:net";
import { expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";

const policy = (rules: string): string =>
  `anonymous: default\nupstream: { hosts: { origin.test: [127.0.0.1] } }\npolicies: { default: { ${rules} } }\n`;

/** What the origin got of it. */
async function sent(rules: string, line: string, rest: string): Promise<string> {
  await using origin = await recordingOrigin();
  await using proxy = await runSallyport(policy(rules));
  const [method = "", path = ""] = line.split(" ");
  const host = `origin.test:${origin.port}`;
  const socket = connect(proxy.port, "127.0.0.1");
  socket.write(`${method} http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${rest}`);
  await socket.resume().toArray();
  return origin.received;
}

test("a GET carries its URL and its fields", async () => {
  const rules = "allow: [{ host: origin.test, networks: [127.0.0.0/8] }]";
  const received = await sent(rules, "GET /?code=secret-1", "X-Code: secret-2\r\n\r\n");
  expect(received).toMatch(/secret-1.*secret-2/s);
});

test("git-fetch lets a POST body pass unread", async () => {
  const rules = "intents: [git-fetch], allow: [{ host: origin.test, networks: [127.0.0.0/8] }]";
  const received = await sent(rules, "POST /x/git-upload-pack", "Content-Length: 6\r\n\r\nsecret");
  expect(received).toMatch(/\r\n\r\nsecret$/);
});

test("a field may name another path to an origin that believes it", async () => {
  const rules = "allow: [{ host: origin.test, paths: [/open], networks: [127.0.0.0/8] }]";
  const received = await sent(rules, "GET /open", "X-Path-Of-Ours: /closed\r\n\r\n");
  expect(received).toContain("X-Path-Of-Ours: /closed");
});
