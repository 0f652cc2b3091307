// Secrets that the sandbox never holds: what origins get, what comes back, and that nothing that the run wrote or said shows them.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { trustFile } from "./trust-file.ts";
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
const answers: string[] = [];

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

async function ask(head: string, host = "origin.test", port = origin.port, through = proxy) {
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
  answers.push(JSON.stringify(answer));
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
  const server = createSecureServer({ cert: certificate.chain, key: certificate.key });
  server.on("stream", (stream: ServerHttp2Stream, fields: object, _flags: number, raw: string[]) => {
    seen.push(raw);
    sensitive = Object.getOwnPropertySymbols(fields).map(
      (symbol) => (fields as Record<symbol, unknown>)[symbol],
    );
    stream.respond({ ":status": 200 });
    stream.end("ok");
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  await using over2 = await runSallyport(configuration(await trustFile(ca), "always", workers));
  const { port } = server.address() as AddressInfo;
  await ask("GET / HTTP/1.1\nAuthorization: Bearer placeholder", "origin.test", port, over2);
  expect(seen[0]?.slice(-4)).toEqual(["authorization", `Bearer ${TOKEN}`, "x-api-key", KEY]);
  expect(sensitive).toEqual([["authorization", "x-api-key"]]);
  server.close();
});

test("no file, metric or answer of the run shows it", async () => {
  await proxy.recorded((all) => all.some((one) => one["path"] === "/echo"));
  const files = readdirSync(proxy.directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file !== "sallyport.yaml")
    .map((file) => join(proxy.directory, file))
    .filter((file) => statSync(file).isFile());
  expect(files.length).toBeGreaterThan(3);
  const said = [...files.map((file) => readFileSync(file, "latin1")), await proxy.metrics(), ...answers];
  for (const form of FORMS) expect(said.filter((one) => one.includes(form))).toEqual([]);
});
