// Connections to an origin are never shared between sandboxes: an origin may have bound to one what belongs to another.

import { connect } from "node:net";
import { expect, test } from "vitest";
import { answerRequests, OK, recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { Wire } from "./wire.ts";

const RULES = "{ preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }";

test.each([
  { name: "sandboxes with names", from: ["127.0.0.1", "127.0.0.1"], ids: ["one", "two"], connections: 2 },
  {
    name: "one sandbox from two addresses",
    from: ["127.0.0.1", "127.0.0.2"],
    ids: ["one", "one"],
    connections: 1,
  },
  { name: "two addresses without names", from: ["127.0.0.1", "127.0.0.2"], ids: ["", ""], connections: 2 },
  { name: "one address without a name", from: ["127.0.0.1", "127.0.0.1"], ids: ["", ""], connections: 1 },
])("$name", async ({ from, ids, connections }) => {
  await using origin = await recordingOrigin();
  origin.behave(answerRequests(() => OK));
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies: { default: ${RULES} }
sandboxes:
  - { id: one, secret: one-one-one-one-one, policy: default }
  - { id: two, secret: two-two-two-two-two, policy: default }
`);
  for (const [index, localAddress] of from.entries()) {
    const id = ids[index] ?? "";
    const secret = Buffer.from(`${id}:${Array(5).fill(id).join("-")}`).toString("base64");
    const fields = id === "" ? "" : `Proxy-Authorization: Basic ${secret}\r\n`;
    await using wire = new Wire(connect({ port: proxy.port, host: "127.0.0.1", localAddress }));
    const authority = `origin.test:${origin.port}`;
    wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`);
    expect((await wire.answer()).status).toBe(200);
  }
  expect(origin.connections).toBe(connections);
});
