import { connect } from "node:net";
import { expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";

test("what a rule allowed is cut when the rule expires, also mid-answer", async () => {
  await using origin = await recordingOrigin();
  origin.behave((socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun"));
  const expires = new Date(Date.now() + 3_000).toISOString();
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { preset: none, allow: [{ host: origin.test, networks: [127.0.0.0/8], expires: "${expires}" }] }
`);
  const socket = connect(proxy.port, "127.0.0.1").on("error", () => {});
  socket.write(`GET http://origin.test:${origin.port}/ HTTP/1.1\r\nHost: origin.test:${origin.port}\r\n\r\n`);
  let answer = "";
  socket.on("data", (chunk) => (answer += String(chunk)));
  await new Promise((resolve) => socket.once("close", resolve));
  expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expires));
  expect(answer).toMatch(/^HTTP\/1.1 200 OK.*begun$/s);
  const records = await proxy.recorded((all) => all.some(({ type }) => type === "completion"));
  expect(records.find(({ type }) => type === "completion")).toMatchObject({ reason: "policy-changed" });
});
