// Every reason for input that cannot be read in exactly one way: what the sandbox is told, what the audit log says, and
// that the origin got nothing. Which octets are malformed is for test/net and test/conformance to say.

import { afterAll, expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { wire } from "../support/wire.ts";

const origin = await recordingOrigin();
const proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`);
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

const AUTHORITY = `origin.test:${origin.port}`;
const LINE = `http://${AUTHORITY}/ HTTP/1.1\r\nHost: ${AUTHORITY}\r\n`;

test.each([
  [400, "request-malformed", `GET ${LINE}Field : spaced\r\n\r\n`],
  [400, "authority-malformed", "CONNECT origin.test:+443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"],
  [400, "target-malformed", `GET ftp://${AUTHORITY}/ HTTP/1.1\r\nHost: ${AUTHORITY}\r\n\r\n`],
  [400, "host-ambiguous", `GET ${LINE}Host: ${AUTHORITY}\r\n\r\n`],
  [400, "length-ambiguous", `POST ${LINE}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`],
  [400, "chunk-malformed", `POST ${LINE}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`],
  [505, "version-unsupported", `GET http://${AUTHORITY}/ HTTP/3.0\r\nHost: ${AUTHORITY}\r\n\r\n`],
  [417, "expectation-unsupported", `POST ${LINE}Expect: tea\r\nContent-Length: 1\r\n\r\n`],
])("%i %s", async (status, reason, octets) => {
  using one = await wire(proxy.port);
  one.send(octets);
  const answer = await one.rest();
  expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(answer).toContain(`Sallyport-Reason: ${reason}\r\n`);
  await proxy.recorded((all) =>
    all.some((record) => record["reason"] === reason || record["fault"] === reason),
  );
  expect(origin.received).toBe("");
});

test("client-hello-malformed: a TLS alert, decode_error", async () => {
  using one = await wire(proxy.port);
  one.send(`CONNECT ${AUTHORITY} HTTP/1.1\r\nHost: ${AUTHORITY}\r\n\r\n`);
  const accepted = await one.until((text) => text.includes("\r\n\r\n"));
  expect(accepted).toMatch(/^HTTP\/1\.1 200 /);
  // A record that says it is a handshake, with a ServerHello in it.
  one.send(Buffer.from("160301000402000000", "hex"));
  const [, alert = ""] = (await one.rest()).split("\r\n\r\n");
  expect(Buffer.from(alert, "latin1").toString("hex")).toBe("15030100020232");
  await proxy.recorded((all) => all.some((record) => record["reason"] === "client-hello-malformed"));
});
