// Secrets that the sandbox never holds: what origins get, what comes back, and that nothing that the run wrote or said shows them.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import type { ServerHttp2Stream } from "node:http2";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { startSallyport } from "../../src/assemble.ts";
import { callApi } from "../support/api.ts";
import { http2Server } from "../support/http2-server.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { temporaryDirectory } from "../support/temporary.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, openTunnel, Wire } from "./wire.ts";

const TOKEN = "s3cr3t/token+of~origin";
const KEY = "another-key-0123456789";
const FORMS = [TOKEN, KEY].flatMap((one) => [
  one,
  Buffer.from(one).toString("base64").replace(/=+$/, ""),
  Buffer.from(one).toString("base64url"),
  encodeURIComponent(one),
]);

let ca: Issued;
let certificate: Issued;
let origin: RecordingOrigin;
let proxy: RunningSallyport;

const configuration = (trust: string, http2 = "never", workers = 1): string => `
workers: ${workers}
upstream: { trust: [${trust}], hosts: { origin.test: [127.0.0.1], other.test: [127.0.0.1] }, http2: ${http2} }
anonymous: default
policies:
  default:
    preset: none
    methods: all
    allow:
      - { host: origin.test, networks: [127.0.0.0/8] }
      - { host: other.test, networks: [127.0.0.0/8] }
    secrets:
      - { name: token, value: "${TOKEN}", hosts: [origin.test], as: bearer }
      - { name: key, value: ${KEY}, hosts: [origin.test], as: { header: X-Api-Key } }
`;

beforeAll(async () => {
  ca = createCa();
  certificate = ca.issue({ names: ["origin.test", "other.test"] });
  origin = await recordingOrigin(certificate);
  proxy = await runSallyport(configuration(await trustFile(ca)));
});
beforeEach(() => origin.reset());
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
});

type Through = Pick<RunningSallyport, "port" | "trustAnchor">;

async function ask(head: string, host = "origin.test", port = origin.port, through: Through = proxy) {
  const wire = await openTunnel({
    port: through.port,
    target: `${host}:${port}`,
    tls: { servername: host, ca: through.trustAnchor },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  await using open = wire;
  const [line, ...fields] = head.split("\n");
  open.write([line, `Host: ${host}:${port}`, ...fields, "", ""].join("\r\n"));
  const answer = await open.answer();
  return answer;
}

test("the sandbox's own field gives way, and Connection cannot take the secret away", async () => {
  await ask(
    "GET /a HTTP/1.1\nauthorization: Bearer placeholder\nX_Api_Key: mine\nConnection: X-Api-Key, Authorization",
  );
  const fields = origin.received.split("\r\n").filter((line) => /auth|key/i.test(line));
  expect(fields).toEqual([`Authorization: Bearer ${TOKEN}`, `X-Api-Key: ${KEY}`]);
});

test("an upgrade carries it too", async () => {
  await ask("GET /ws HTTP/1.1\nConnection: Upgrade\nUpgrade: websocket");
  expect(origin.received).toContain(`Authorization: Bearer ${TOKEN}\r\n`);
});

test("another host gets nothing of it", async () => {
  await ask("GET /b HTTP/1.1\nAuthorization: Bearer placeholder", "other.test");
  expect(origin.received).toContain("Authorization: Bearer placeholder\r\n");
  for (const form of FORMS) expect(origin.received).not.toContain(form);
});

test("over plain HTTP the request is refused, and so is TRACE, which would be answered with it", async () => {
  await using wire = await dialPort(proxy.port);
  const authority = `origin.test:${origin.port}`;
  wire.write(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const refused = await wire.answer();
  expect([refused.status, refused.field("sallyport-reason")]).toEqual([403, "secret-needs-tls"]);
  expect((await ask("TRACE / HTTP/1.1")).status).toBe(403);
  expect(origin.received).toBe("");
});

test("heads that echo it are masked, trailers too, in every form", async () => {
  await using echoing = await recordingOrigin(certificate);
  echoing.behave((socket) => {
    socket.once("data", () =>
      socket.end(
        `HTTP/1.1 200 ${TOKEN}\r\nTransfer-Encoding: chunked\r\n` +
          FORMS.map((form, at) => `X-Echo-${at}: <${form}>\r\n`).join("") +
          `Location: https://other.test/?t=${encodeURIComponent(TOKEN).toLowerCase()}\r\n` +
          `\r\n2\r\nok\r\n0\r\nX-Last: ${KEY}\r\n\r\n`,
      ),
    );
  });
  const answer = await ask("GET /echo HTTP/1.1\nTE: trailers", "origin.test", echoing.port);
  expect(answer.field("x-echo-0")).toBe("<[secret]>");
  expect(answer.field("location")).toBe("https://other.test/?t=[secret]");
  expect(answer.body).toContain("X-Last: [secret]");
});

test.each([1, 2])("over HTTP/2 it is put in as well, and no table keeps it; %d workers", async (workers) => {
  const seen: string[][] = [];
  let sensitive: unknown;
  await using over2 = await http2Server(certificate);
  const { port, server } = over2;
  server.on("stream", (stream: ServerHttp2Stream, fields: object, _flags: number, raw: string[]) => {
    seen.push(raw);
    sensitive = Object.getOwnPropertySymbols(fields).map(
      (symbol) => (fields as Record<symbol, unknown>)[symbol],
    );
    stream.respond({ ":status": 200 });
    stream.end("ok");
  });
  await using through = await runSallyport(configuration(await trustFile(ca), "always", workers));
  await ask("GET / HTTP/1.1\nAuthorization: Bearer placeholder", "origin.test", port, through);
  expect(seen[0]?.slice(-4)).toEqual(["authorization", `Bearer ${TOKEN}`, "x-api-key", KEY]);
  expect(sensitive).toEqual([["authorization", "x-api-key"]]);
});

test("no file, log line, metric or answer of the run shows it", async () => {
  const trust = await trustFile(ca);
  const directory = temporaryDirectory("sallyport-secrets-");
  const head = `listen: ["127.0.0.1:0"]\nadmin: "127.0.0.1:0"\nlog: { level: trace, format: json }\n`;
  await writeFile(join(directory, "sallyport.yaml"), head + configuration(trust));
  await writeFile(join(directory, "token"), TOKEN);
  const logged: string[] = [];
  const stream = { isTTY: false, write: (line: string) => logged.push(line) > 0, close: async () => {} };
  const sallyport = await startSallyport({ cwd: directory, env: process.env, stream });
  const through = {
    port: sallyport.listen[0]?.port ?? 0,
    trustAnchor: readFileSync(join(directory, "certs/ca.pem"), "utf8"),
  };
  const said: string[] = [];
  try {
    // Allowed, refused, failed at the origin, and read wrongly from it.
    origin.behave((socket) => {
      let asked = 0;
      socket.on("data", () => {
        asked++;
        if (asked === 1) socket.write(`HTTP/1.1 200 ${TOKEN}\r\nContent-Length: 0\r\nX-Key: ${KEY}\r\n\r\n`);
        else socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${TOKEN}\r\n\r\n`);
      });
    });
    for (const line of [
      "GET /a HTTP/1.1",
      "TRACE /b HTTP/1.1",
      "GET /c HTTP/1.1",
      "POST /d?key=mine HTTP/1.1\nContent-Length: 0",
    ])
      said.push(JSON.stringify(await ask(line, "origin.test", origin.port, through)));
    origin.reset();
    await using wire = await dialPort(through.port);
    wire.write(`GET http://origin.test:1/ HTTP/1.1\r\nHost: origin.test:1\r\n\r\n`);
    said.push(JSON.stringify(await wire.answer()));
    const socketPath = join(directory, "data/admin.sock");
    for (const path of [
      "/v1/whoami",
      "/v1/sandboxes",
      "/v1/tokens",
      "/v1/grants",
      "/v1/approvals",
      "/v1/lockdown",
      "/v1/openapi.json",
      "/metrics",
      "/readyz",
      "/healthz",
    ])
      said.push((await callApi({ socketPath }, { path })).text);
    const body = { policy: "default", labels: { repository: "r" } };
    const registered = await callApi({ socketPath }, { method: "POST", path: "/v1/sandboxes", body });
    expect(registered.status).toBe(201);
    said.push(registered.text);
    await writeFile(join(directory, "sallyport.yaml"), `${head}${configuration(trust)}  broken: [\n`);
    expect((await sallyport.reload("signal")).ok).toBe(false);
    said.push((await callApi({ socketPath }, { path: "/readyz" })).text);
  } finally {
    await sallyport.stop();
  }
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file !== "sallyport.yaml" && file !== "token")
    .map((file) => join(directory, file))
    .filter((file) => statSync(file).isFile());
  expect(
    files.some((file) => file.includes("audit")) && logged.length > 5 && said.every((one) => one !== ""),
  ).toBe(true);
  const all = [...files.map((file) => readFileSync(file, "latin1")), ...logged, ...said];
  for (const form of FORMS) expect(all.filter((one) => one.includes(form))).toEqual([]);
});

test("the record names what was put in", async () => {
  await ask("GET /named HTTP/1.1");
  const records = await proxy.recorded((all) => all.some((one) => one["path"] === "/named"));
  expect(records.find((one) => one["path"] === "/named")).toMatchObject({
    verdict: "allow",
    secrets: ["token", "key"],
  });
});

test("a file that changes is read anew, and what it says goes out with the next request", async () => {
  const trust = await trustFile(ca);
  const file = join(temporaryDirectory("sallyport-secret-"), "token");
  await writeFile(file, "the-first-token\n");
  await using rotating = await runSallyport(
    configuration(trust).replace(`value: "${TOKEN}"`, `file: ${file}`),
  );
  await ask("GET / HTTP/1.1", "origin.test", origin.port, rotating);
  expect(origin.received).toContain("Authorization: Bearer the-first-token\r\n");
  await writeFile(`${file}.new`, "the-second-token\n");
  await rename(`${file}.new`, file);
  await rotating.recorded((all) => all.filter((one) => one["type"] === "reload").length > 0);
  await ask("GET / HTTP/1.1", "origin.test", origin.port, rotating);
  expect(origin.received).toContain("Authorization: Bearer the-second-token\r\n");
});

test.each([
  ["/?key=mine", "/?"],
  ["/?a=1&KEY=mine&b=2", "/?a=1&b=2&"],
  ["/?%6bey=mine", "/?"],
  ["/?%256bey=mine&a=1;key=mine", "/?"],
  ["/?key[]=mine&key%5b0%5D=mine&keys=1", "/?keys=1&"],
  ["/", "/?"],
])("in the query of %s it stands once", async (path, before) => {
  const trust = await trustFile(ca);
  await using querying = await runSallyport(configuration(trust).replace("header: X-Api-Key", "query: key"));
  await ask(`GET ${path} HTTP/1.1`, "origin.test", origin.port, querying);
  expect(origin.received.split(" ")[1]).toBe(`${before}key=${KEY}`);
});
