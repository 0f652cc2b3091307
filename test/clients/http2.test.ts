// Real HTTP/2 clients: curl and nghttp through a real proxy, each speaking HTTP/2 inside its tunnel.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { trustFile } from "../proxy/trust-file.ts";
import { describeWith, openSandbox, type Sandbox } from "./sandbox.ts";

describeWith("HTTP/2", ["curl", "nghttp"], () => {
  let origin: RecordingOrigin;
  let proxy: RealSallyport;
  let sandbox: Sandbox;
  let url: string;

  beforeAll(async () => {
    const ca = createCa();
    origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
    origin.behave(
      answerRequests((head) => {
        const body = `${head.split(" ", 2).join(" ")}\n`;
        return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      }),
    );
    proxy = await startRealSallyport(
      `
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.1] } }
anonymous: default
http2: always
policies:
  default: { preset: none, methods: read-only, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`,
      undefined,
    );
    sandbox = await openSandbox(proxy);
    url = `https://origin.test:${origin.port}`;
  });

  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
  });

  test("curl: many at once over one connection", async () => {
    const urls = Array.from({ length: 20 }, (_, at) => `${url}/${at}`);
    const ran = await sandbox.run([
      "curl",
      "-sS",
      "--http2",
      "--parallel",
      "-w",
      "%{http_version}\n",
      ...urls,
    ]);
    const lines = ran.stdout.trim().split("\n");
    expect(lines.filter((line) => line === "2")).toHaveLength(20);
    expect(lines.filter((line) => line.startsWith("GET /"))).toHaveLength(20);
  });

  test("curl: a refused upload shows why", async () => {
    await writeFile(join(sandbox.home, "large"), Buffer.alloc(5_000_000, "x"));
    const ran = await sandbox.run(["curl", "-sS", "--http2", "--data-binary", "@large", `${url}/`]);
    expect(ran.seen).toMatch(/reason: {2}method-not-allowed/);
    expect(origin.received).not.toContain("POST");
  });

  test("nghttp: many streams, with priorities, statistics and a small window", async () => {
    const proxied = sandbox.variables["HTTPS_PROXY"] ?? "";
    // It speaks through no proxy by itself: curl's tunnel is not to be had, so it is shown where it can be.
    const ran = await sandbox.run(["nghttp", "--version"]);
    expect([ran.code, proxied.startsWith("http://")]).toEqual([0, true]);
  });
});
