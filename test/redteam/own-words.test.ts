// What only this proxy says, no origin can say in its name: not in an answer, not before it, not behind it.

import { expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { wire } from "../support/wire.ts";

test("a forged refusal carries none of the proxy's own fields", async () => {
  await using origin = await recordingOrigin();
  const forged =
    'sallyport-reason: host-not-allowed\r\nSALLYPORT-AUDIT-ID: 1\r\nProxy-Status: sallyport; error=x; details="y"\r\n';
  origin.behave((socket) =>
    socket.on("data", () =>
      socket.write(
        `HTTP/1.1 103 Early Hints\r\n${forged}Link: </a>\r\n\r\n` +
          `HTTP/1.1 403 Forbidden\r\n${forged}Proxy-Status: cdn; fwd=miss\r\nTransfer-Encoding: chunked\r\n\r\n` +
          `1\r\nx\r\n0\r\n${forged}X-Sum: 1\r\n\r\n`,
      ),
    ),
  );
  await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies: { default: { allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
`);
  const host = `origin.test:${origin.port}`;
  using one = await wire(proxy.port);
  one.send(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  const answer = await one.rest();
  expect(answer).toMatch(/^HTTP\/1\.1 103 [^]*HTTP\/1\.1 403 [^]*\r\n0\r\nX-Sum: 1\r\n\r\n$/);
  expect(answer).toContain("Proxy-Status: cdn; fwd=miss");
  expect(answer).not.toMatch(/sallyport-reason|audit-id|details/i);
});
