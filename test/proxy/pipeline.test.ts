import { connect } from "node:net";
import { expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";

test("a pipeline of requests is answered in order, and a refused one leaves the connection usable", async () => {
  await using origin = await recordingOrigin();
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { preset: none, methods: read-only, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`);
  const url = `http://origin.test:${origin.port}`;
  const socket = connect(proxy.port, "127.0.0.1");
  const host = `Host: origin.test:${origin.port}\r\n`;
  socket.write(
    `GET ${url}/1 HTTP/1.1\r\n${host}\r\nPOST ${url}/2 HTTP/1.1\r\n${host}Content-Length: 4\r\n\r\nabcdGET ${url}/3 HTTP/1.1\r\n${host}Connection: close\r\n\r\n`,
  );
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  expect(answer.match(/HTTP\/1.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 403", "HTTP/1.1 200"]);
  expect(origin.received.match(/^[A-Z]+ \S+/gm)).toEqual(["GET /1", "GET /3"]);
  const records = await proxy.recorded((all) => all.filter((r) => r.type === "completion").length === 3);
  expect(records.filter((r) => r.type === "decision").map((r) => r["verdict"])).toEqual([
    "allow",
    "deny",
    "allow",
  ]);
});
