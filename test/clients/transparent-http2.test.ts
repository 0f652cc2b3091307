// Clients that were told of no proxy and speak HTTP/2: what this machine's packet filter redirects is intercepted as HTTP/2 and
// reaches the origin as that, each stream is judged and recorded, and a refused one says why.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { grpcService, type Service } from "../support/grpc.ts";
import { createCa } from "../support/pki.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { recordingHttp2Origin, type RecordingHttp2Origin } from "../support/recording-http2-origin.ts";
import { found, leadByMachine, trusting } from "./led.ts";
import { allowRule, npmRegistry } from "./machine.ts";
import { type Namespace, openNamespace } from "./namespace.ts";
import { describeWith, type Ran } from "./sandbox.ts";
import { disposeAll, SECRET, temporary } from "./suite.ts";

const PROGRAMS = ["root", "namespaces", "ip", "nft", "curl", "nghttp", "npm"];

describeWith("HTTP/2, led by this machine's packet filter", PROGRAMS, () => {
  const open: AsyncDisposable[] = [];
  let origin: RecordingHttp2Origin;
  let service: Service;
  let proxy: RealSallyport;
  let namespace: Namespace;
  let home: string;

  beforeAll(async () => {
    const files = await temporary("sallyport-transparent-");
    open.push(files);
    home = join(files.path, "home");
    await mkdir(home);
    const ca = createCa();
    const root = join(files.path, "root.pem");
    await writeFile(root, ca.cert);
    const address = `127.${77 + (process.pid % 100)}.${process.pid & 255}.9`;
    const certificate = ca.issue({ names: ["origin.test"] });
    // They speak HTTP/2 alone: an answer of theirs is proof of it.
    origin = await recordingHttp2Origin(certificate, { address, port: 443 });
    service = await grpcService(certificate, address);
    open.push(origin, service);
    namespace = await openNamespace({ home, routed: true, variables: {} });
    open.push(namespace);
    const { gateway } = namespace;
    proxy = await startRealSallyport(`
upstream: { trust: [system, bundled, ${root}], hosts: { origin.test: [${address}] } }
anonymous: default
http2: always
transparent:
  - { listen: "${gateway}:8443", port: 443 }
  - { listen: "${gateway}:${service.port}", port: ${service.port} }
dns: { listen: "${gateway}:5353", answer: [${gateway}] }
policies:
  default:
    preset: none
    methods: read-only
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: origin.test, networks: [127.0.0.0/8], methods: [POST], paths: [/shop.Orders/Unary, /shop.Orders/Echo] }
      - ${(await allowRule([npmRegistry()])).slice(1, -1)}
`);
    open.push(proxy, leadByMachine(namespace, [service.port]));
  }, 120_000);
  afterAll(() => disposeAll(open));
  beforeEach(() => origin.reset());

  const run = (command: readonly string[], more: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    namespace.run(command, { variables: { ...trusting(proxy), ...more } });
  const allowed = { kind: "request", way: "transparent", verdict: "allow", port: 443 };
  const refused = { ...allowed, verdict: "deny", reason: "method-not-allowed", method: "POST" };

  test("curl", async () => {
    const url = "https://origin.test";
    const curl = ["curl", "-sS", "--http2", "-w", "HTTP/%{http_version} %{response_code}\n"];
    const many = await run([...curl, "--parallel", `${url}/1`, `${url}/2`, `${url}/3`]);
    expect(many.stdout.match(/^HTTP\/2 200$/gm), many.seen).toHaveLength(3);
    expect(origin.received.split("\n").toSorted()).toEqual(["", "GET /1", "GET /2", "GET /3"]);
    for (const path of ["/1", "/2", "/3"])
      await proxy.recorded(found({ ...allowed, host: "origin.test", path }));
    origin.reset();
    const sent = await run([...curl, "--data-binary", SECRET, `${url}/sent`]);
    expect(sent.stdout).toMatch(/reason: {2}method-not-allowed\n[^]*^HTTP\/2 403$/m);
    expect(origin.received).toBe("");
    await proxy.recorded(found({ ...refused, host: "origin.test", path: "/sent" }));
  });

  test("nghttp", async () => {
    const got = await run(["nghttp", "-y", "-v", "-m", "5", "https://origin.test/many"]);
    expect(got.seen).toMatch(/The negotiated protocol: h2$/m);
    expect(got.seen.match(/:status: 200/g)).toHaveLength(5);
    expect(origin.received).toBe("GET /many\n".repeat(5));
    await proxy.recorded(found({ ...allowed, method: "GET", path: "/many" }));
    origin.reset();
    await writeFile(join(home, "upload"), SECRET);
    const sent = await run(["nghttp", "-y", "-v", "-d", "upload", "https://origin.test/upload"]);
    expect(sent.seen).toMatch(/The negotiated protocol: h2$/m);
    expect(sent.seen).toMatch(/:status: 403/);
    expect(sent.seen).toMatch(/sallyport-reason: method-not-allowed/);
    expect(origin.received).toBe("");
    await proxy.recorded(found({ ...refused, path: "/upload" }));
  });

  test("grpc-js, which npm brings by the same way", async () => {
    const modules = join(home, "modules");
    await mkdir(modules);
    const options = ["--registry", npmRegistry().href, "--cache", join(home, "cache"), "--no-audit"];
    const brought = await run(["npm", "install", "--prefix", modules, GRPC, ...options, "--fetch-retries=0"]);
    expect(brought.code, brought.seen).toBe(0);
    const call = (kind: string): Promise<Ran> =>
      run([process.execPath, CALL, `origin.test:${service.port}`, kind], { CLIENTS: `${modules}/` });
    expect((await call("unary")).seen).toBe("one\nOK: \n");
    expect((await call("echo")).seen).toBe("<a>\n<b>\nOK: \n");
    expect(service.calls.map(({ path }) => path)).toEqual(["/shop.Orders/Unary", "/shop.Orders/Echo"]);
    await proxy.recorded(found({ ...allowed, port: service.port, path: "/shop.Orders/Echo" }));
    const fails = await call("fail");
    expect(fails.seen).toMatch(/^PERMISSION_DENIED: sallyport: method-not-allowed/m);
    expect(service.calls).toHaveLength(2);
    await proxy.recorded(found({ ...refused, port: service.port, path: "/shop.Orders/Fail" }));
  });
});

/** As scripts/setup-containers.sh has it. */
const GRPC = "@grpc/grpc-js@1.14.7";
const CALL = fileURLToPath(new URL("../containers/clients/inside/grpc.mjs", import.meta.url));
