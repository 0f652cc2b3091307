// By what a sandbox is known, over a real Sallyport: its network, a listener of its own, a Unix socket, its credentials; and that
// none of them makes it another's.

import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Actor } from "../../src/registry/types.ts";
import { Wire } from "../proxy/wire.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { textHeader } from "../support/ways/proxy-header.ts";

const OPERATOR: Actor = { name: "token:olga", role: "operator", from: "127.0.0.1:1" };

let origin: RecordingOrigin;
let directory: string;
beforeAll(async () => {
  origin = await recordingOrigin();
  directory = await mkdtemp(join(tmpdir(), "sallyport-sockets-"));
});
beforeEach(() => origin.behave(answerRequests(() => OK)));
afterAll(async () => {
  await origin[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

type From = { readonly port?: number; readonly path?: string; readonly localAddress?: string };

async function wireFrom({ port, path, localAddress }: From): Promise<Wire> {
  const socket =
    path === undefined ? connect({ port: port ?? 0, host: "127.0.0.1", localAddress }) : connect({ path });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  return new Wire(socket);
}

/** Whose policy held: each allows a path of its own name alone. */
async function whoIs(from: From, credentials?: string, before = ""): Promise<string> {
  for (const name of ["filed", "other", "api", "nobody"]) {
    await using wire = await wireFrom(from);
    const authority = `one.test:${origin.port}`;
    const fields =
      credentials === undefined
        ? ""
        : `Proxy-Authorization: Basic ${Buffer.from(credentials).toString("base64")}\r\n`;
    wire.write(`${before}GET http://${authority}/${name} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`);
    const { status } = await wire.answer();
    if (status === 407) return "407";
    if (status === 200) return name;
    expect(status).toBe(403);
  }
  return "403";
}

const FILED = "filed:its-own-secret-of-24-char";
const OTHER = "other:its-own-secret-of-24-char";

describe.each([
  { name: "one process", more: "" },
  { name: "two workers", more: "workers: 2" },
])("$name", ({ more }) => {
  let proxy: RunningSallyport;
  let main: number;
  let own: number;
  let path: string;
  beforeAll(async () => {
    path = join(directory, `${more === "" ? "one" : "two"}.sock`);
    const policy = (name: string): string =>
      `${name}: { preset: none, methods: all, allow: [{ host: one.test, paths: [/${name}], networks: [127.0.0.0/8] }] }`;
    proxy = await runSallyport(
      `${more}
upstream: { hosts: { one.test: [127.0.0.1] } }
limits: { drain: 1s }
proxy_protocol: [127.0.9.9]
anonymous: nobody
policies:
${["filed", "other", "api", "nobody"].map((name) => `  ${policy(name)}\n`).join("")}
sandboxes:
  - { id: filed, secret: its-own-secret-of-24-char, sources: [127.0.1.0/24], policy: filed }
  - { id: other, secret: its-own-secret-of-24-char, policy: other }
`,
      `["127.0.0.1:0", { address: "127.0.0.1:0", sandbox: other }, { socket: ${path}, sandbox: filed, mode: 0660 }]`,
    );
    [main = 0, own = 0] = proxy.sallyport.listen.map(({ port }) => port);
  }, 60_000);
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    expect(existsSync(path)).toBe(false);
  });

  const registration = (id: string, sources: readonly string[]) => ({
    id,
    policies: { setup: "api", agent: "api" },
    phase: "agent" as const,
    labels: {},
    sources,
  });

  test.each<[string, () => From, string | undefined, string]>([
    ["nobody says anything", () => ({ port: main }), undefined, "nobody"],
    ["credentials", () => ({ port: main }), OTHER, "other"],
    ["its network", () => ({ port: main, localAddress: "127.0.1.7" }), undefined, "filed"],
    ["beside its network", () => ({ port: main, localAddress: "127.0.2.0" }), undefined, "nobody"],
    ["its network and its credentials", () => ({ port: main, localAddress: "127.0.1.7" }), FILED, "filed"],
    ["its credentials from elsewhere", () => ({ port: main }), FILED, "filed"],
    [
      "its network and another's credentials",
      () => ({ port: main, localAddress: "127.0.1.7" }),
      OTHER,
      "407",
    ],
    [
      "its network and wrong credentials",
      () => ({ port: main, localAddress: "127.0.1.8" }),
      "filed:x",
      "407",
    ],
    ["its listener", () => ({ port: own }), undefined, "other"],
    ["its listener and its credentials", () => ({ port: own }), OTHER, "other"],
    ["its listener and another's credentials", () => ({ port: own }), FILED, "407"],
    [
      "its listener from another's network",
      () => ({ port: own, localAddress: "127.0.1.9" }),
      undefined,
      "407",
    ],
    ["its socket", () => ({ path }), undefined, "filed"],
    ["its socket and another's credentials", () => ({ path }), OTHER, "407"],
  ])("%s", async (_what, from, credentials, expected) => {
    expect(await whoIs(from(), credentials)).toBe(expected);
  });

  test("a socket is for whom its mode names, and its peers stand in the record by its path", async () => {
    expect((statSync(path).mode & 0o777).toString(8)).toBe("660");
    await whoIs({ path });
    if (more !== "") return;
    await proxy.recorded((all) =>
      all.some(({ sandbox, source }) => sandbox === "filed" && source === `unix:${path}`.slice(0, 64)),
    );
  });

  test("a balancer says whose address it is, and its own is nobody's", async () => {
    const from = { port: main, localAddress: "127.0.9.9" };
    expect(await whoIs(from, undefined, textHeader("127.0.1.7"))).toBe("filed");
    expect(await whoIs(from, undefined, "PROXY UNKNOWN\r\n")).toBe("nobody");
    // Whoever registers it has not become all whom it speaks for.
    const id = `balancer-${more.length}`;
    await proxy.sallyport.control.register(OPERATOR, registration(id, ["127.0.9.9"]));
    expect(await whoIs(from, undefined, "PROXY UNKNOWN\r\n")).toBe("nobody");
    expect(await whoIs(from, undefined, textHeader("127.0.9.9"))).toBe("nobody");
    await proxy.sallyport.control.end(OPERATOR, id, "done");
    // Nobody else's header is believed: it is no request.
    await using wire = await wireFrom({ port: main });
    wire.write(`${textHeader("127.0.1.7")}GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n`);
    expect((await wire.answer()).status).toBe(400);
  });

  test("a registered network is its sandbox's from then on, and nobody else's to claim", async () => {
    const { control } = proxy.sallyport;
    const from = { port: main, localAddress: "127.0.3.1" };
    expect(await whoIs(from)).toBe("nobody");
    const id = `api-${more.length}`;
    await control.register(OPERATOR, registration(id, ["127.0.3.0/28"]));
    expect(await whoIs(from)).toBe("api");
    for (const sources of [
      ["127.0.3.0/28"],
      ["127.0.3.1"],
      ["127.0.0.0/16"],
      ["127.0.1.128/25"],
      ["0.0.0.0/0"],
    ])
      await expect(control.register(OPERATOR, registration(`${id}-x`, sources))).rejects.toThrow(
        /another sandbox's|wider/,
      );
    await control.lockDown(OPERATOR, id, "incident");
    expect(await whoIs(from)).toBe("403");
    await control.end(OPERATOR, id, "done");
    expect(await whoIs(from)).toBe("nobody");
  });

  test("what was nobody's is cut where its network becomes a sandbox's, and where it ceases to be", async () => {
    const { control } = proxy.sallyport;
    origin.behave((socket) =>
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello")),
    );
    const streaming = async (name: string): Promise<Wire> => {
      const wire = await wireFrom({ port: main, localAddress: "127.0.4.1" });
      wire.write(
        `GET http://one.test:${origin.port}/${name} HTTP/1.1\r\nHost: one.test:${origin.port}\r\n\r\n`,
      );
      await wire.until(() => wire.all.endsWith("hello"));
      expect(wire.all).toMatch(/hello$/);
      return wire;
    };
    await using before = await streaming("nobody");
    const id = `net-${more.length}`;
    await control.register(OPERATOR, registration(id, ["127.0.4.1"]));
    await before.until(() => false);
    await using during = await streaming("api");
    await control.end(OPERATOR, id, "done");
    await during.until(() => false);
    expect([before, during].map(({ closed, ended }) => closed || ended)).toEqual([true, true]);
  });
});

// Workers start at once, and what one has bound looks deserted to another until it is listened on.
test.each([1, 4])(
  "a socket that somebody left is taken over, by all of %d workers",
  { timeout: 60_000 },
  async (count) => {
    const path = join(directory, `left-${count}.sock`);
    const leave = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
    spawnSync(process.execPath, ["-e", leave]);
    expect(statSync(path).isSocket()).toBe(true);
    await using _proxy = await runSallyport(
      `workers: ${count}\nsandboxes: [{ id: filed, policy: filed, secret: its-own-secret-of-24-char }]\npolicies: { filed: { preset: none } }\n`,
      `[{ socket: ${path}, sandbox: filed, mode: 0660 }]`,
    );
    expect(statSync(path).mode & 0o777).toBe(0o660);
    await using wire = await wireFrom({ path });
    wire.write("GET http://one.test/ HTTP/1.1\r\nHost: one.test\r\n\r\n");
    expect((await wire.answer()).status).toBe(403);
  },
);

test("a socket that somebody listens on is not taken over, and a file is kept", async () => {
  const yaml = "anonymous: default\npolicies: { default: { preset: none } }\n";
  const path = join(directory, "used.sock");
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(path, resolve));
  await expect(runSallyport(yaml, `[{ socket: ${path} }]`)).rejects.toThrow(/EADDRINUSE/);
  expect(existsSync(path)).toBe(true);
  await new Promise((resolve) => server.close(resolve));
  const { writeFile, readFile } = await import("node:fs/promises");
  await writeFile(path, "mine");
  await expect(runSallyport(yaml, `[{ socket: ${path} }]`)).rejects.toThrow(/EADDRINUSE/);
  expect(await readFile(path, "utf8")).toBe("mine");
});
