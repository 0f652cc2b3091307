// A path that was judged, and another one beside it for servers that take the request's target from a field.

import { expect, test } from "vitest";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport } from "../support/sallyport.ts";
import { wire } from "../support/wire.ts";

test.each(["X-Original-URL", "x-rewrite-url", "X_Original_Url"])(
  "%s never reaches an origin",
  async (name) => {
    await using origin = await recordingOrigin();
    await using proxy = await runSallyport(`
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies: { default: { methods: all, allow: [{ host: origin.test, paths: [/open/*], networks: [127.0.0.0/8] }] } }
`);
    const host = `origin.test:${origin.port}`;
    using one = await wire(proxy.port);
    one.send(
      `POST http://${host}/open/a HTTP/1.1\r\nHost: ${host}\r\n${name}: /closed\r\nTransfer-Encoding: chunked\r\n` +
        `Connection: close\r\n\r\n1\r\nx\r\n0\r\n${name}: /closed\r\n\r\n`,
    );
    expect(await one.rest()).toMatch(/^HTTP\/1\.1 200 /);
    expect(origin.received).toMatch(/^POST \/open\/a /);
    expect(origin.received).not.toContain("/closed");
  },
);
