// Real HTTP/2 clients: curl and nghttp through a real proxy, each speaking HTTP/2 inside its tunnel.

import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { describeWith, openSandbox, type Sandbox } from "./sandbox.ts";

describeWith("HTTP/2", ["curl", "h2load", "nghttp"], () => {
  let origin: RecordingOrigin;
  let proxy: RealSallyport;
  let sandbox: Sandbox;
  let url: string;

  beforeAll(async () => {
    const ca = createCa();
    origin = await recordingOrigin(ca.issue({ names: ["origin.test", "localhost"] }), {
      address: "127.0.0.2",
    });
    origin.behave(
      answerRequests((head) => {
        const body = `${head.split(" ", 2).join(" ")}\n`;
        return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
      }),
    );
    proxy = await startRealSallyport(
      `
upstream: { trust: [${await trustFile(ca)}], hosts: { origin.test: [127.0.0.2], localhost: [127.0.0.2] } }
anonymous: default
http2: always
policies:
  default: { preset: none, methods: read-only, allow: [{ host: origin.test, networks: [127.0.0.2/32] }, { host: localhost, networks: [127.0.0.2/32] }] }
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

  /** Where nghttp connects to, which knows no proxies: each connection becomes a tunnel to its own port. */
  async function bridge(): Promise<Server> {
    const server = createServer((socket) => {
      const up = connect(proxy.port, "127.0.0.1");
      for (const end of [socket, up]) end.on("error", () => {});
      up.write(`CONNECT localhost:${origin.port} HTTP/1.1\r\nHost: localhost:${origin.port}\r\n\r\n`);
      up.once("data", () => void socket.pipe(up).pipe(socket));
      socket.once("close", () => up.destroy());
    });
    server.listen(origin.port, "127.0.0.1");
    await once(server, "listening");
    return server;
  }

  test("nghttp: many streams with weights, a small window; a refused upload", async () => {
    const server = await bridge();
    const local = `https://localhost:${origin.port}`;
    const many = await sandbox.run([
      "nghttp",
      "-y",
      "-v",
      "-w",
      "10",
      "-m",
      "20",
      "-p",
      "7",
      `${local}/many`,
    ]);
    expect(many.seen.match(/:status: 200/g)).toHaveLength(20);
    expect(many.seen).not.toMatch(/RST_STREAM|INVALID|error_code=(?!NO_ERROR)/);
    const refused = await sandbox.run(["nghttp", "-y", "-v", "-d", "large", `${local}/upload`]);
    expect(refused.seen).toMatch(/:status: 403/);
    expect(refused.seen).toMatch(/sallyport-reason: method-not-allowed/);
    expect(origin.received).not.toContain("POST");
    server.close();
  });

  test("h2load: two thousand requests, none lost", async () => {
    const server = await bridge();
    const ran = await sandbox.run([
      "h2load",
      "-n",
      "2000",
      "-c",
      "4",
      "-m",
      "32",
      `https://localhost:${origin.port}/`,
    ]);
    expect(ran.seen).toMatch(/2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout/);
    server.close();
  });
});
