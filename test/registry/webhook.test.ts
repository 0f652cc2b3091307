// The webhook is told of each approval once, signed, over TLS that is verified; whatever it does, nobody waits for it.

import { createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Secret } from "../../src/net/secret.ts";
import type { ApprovalView } from "../../src/registry/types.ts";
import { Webhook, type WebhookTarget } from "../../src/registry/webhook.ts";
import { createCa, type Issued } from "../support/pki.ts";

const SECRET = "0123456789abcdef-secret";
const APPROVAL: ApprovalView = {
  id: "ap_0123456789abcdef",
  state: "pending",
  sandbox: "ci",
  source: undefined,
  labels: { task: "42" },
  policy: "default",
  method: "POST",
  scheme: "https",
  host: "api.example.com",
  port: 443,
  path: "/made",
  query: false,
  reason: "host-not-allowed",
  requests: 1,
  askedAt: 1,
  expires: 2,
  decidedBy: undefined,
  decidedAt: undefined,
  scope: undefined,
  note: undefined,
  version: 1,
};

type Told = { readonly headers: Readonly<Record<string, unknown>>; readonly body: string };

let ca: Issued;
let server: Server;
let told: Told[];
let statuses: number[];
let outcomes: string[];
let faults: Error[];
let webhook: Webhook | undefined;

beforeAll(async () => {
  ca = createCa();
  const { chain, key } = ca.issue({ names: ["127.0.0.1"] });
  server = createServer({ cert: chain, key }, (request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      told.push({ headers: request.headers, body });
      response.writeHead(statuses.shift() ?? 204, { Location: "/elsewhere" }).end();
      server.emit("told");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
});
afterAll(() => void server.close());
beforeEach(() => {
  told = [];
  statuses = [];
  outcomes = [];
  faults = [];
});
afterEach(() => webhook?.close());

function start(target: Partial<WebhookTarget> = {}): Webhook {
  const { port } = server.address() as AddressInfo;
  const to = {
    url: `https://127.0.0.1:${port}/hook`,
    secret: new Secret(SECRET),
    trust: [ca.cert],
    ...target,
  };
  webhook = new Webhook({
    target: () => to,
    on: {
      delivery: (outcome) => {
        outcomes.push(outcome);
        server.emit("outcome");
      },
      fault: (error) => void faults.push(error),
    },
    now: () => 1_700_000_000_000,
    firstWaitMs: 1,
  });
  return webhook;
}

async function outcome(): Promise<string | undefined> {
  if (outcomes.length === 0) await once(server, "outcome");
  return outcomes[0];
}

test("is told once, with an id and a signature that holds for the time and the body", async () => {
  start().tell(APPROVAL);
  expect(await outcome()).toBe("delivered");
  expect(told).toHaveLength(1);
  const [{ headers, body } = { headers: {}, body: "" }] = told;
  expect(JSON.parse(body)).toEqual({
    type: "approval.pending",
    approval: JSON.parse(JSON.stringify(APPROVAL)) as unknown,
  });
  const mac = createHmac("sha256", SECRET).update(`1700000000.${body}`).digest("hex");
  expect(headers["sallyport-signature"]).toBe(`t=1700000000,v1=${mac}`);
  expect(headers["idempotency-key"]).toBe(`approval.pending/${APPROVAL.id}`);
  expect(JSON.stringify(headers) + body).not.toContain(SECRET);
});

test("is told again where it fails, with the same id, and given up after six times", async () => {
  statuses = [500, 302, 404, 200];
  start().tell(APPROVAL);
  expect(await outcome()).toBe("delivered");
  expect(told).toHaveLength(4);
  expect(new Set(told.map(({ headers }) => headers["idempotency-key"])).size).toBe(1);
  webhook?.close();
  outcomes = [];
  statuses = Array.from({ length: 10 }, () => 500);
  start().tell(APPROVAL);
  expect(await outcome()).toBe("failed");
  expect(told).toHaveLength(10);
  expect(faults).toHaveLength(1);
});

test.each([
  { name: "an authority that nobody trusts", trust: [createCa().cert] },
  { name: "no authority at all", trust: [] },
])("is told nothing where it proves itself by $name", async ({ trust }) => {
  start({ trust }).tell(APPROVAL);
  expect(await outcome()).toBe("failed");
  expect(told).toEqual([]);
});

test("of a flood, so many wait, and the rest is dropped; the end drops all", async () => {
  const hook = start({ url: "https://127.0.0.1:1/", trust: [ca.cert] });
  for (let many = 0; many < 300; many++) hook.tell(APPROVAL);
  expect(outcomes.filter((one) => one === "dropped").length).toBeGreaterThanOrEqual(300 - 256 - 2);
  hook.close();
  hook.tell(APPROVAL);
  expect(told).toEqual([]);
});

test("is not told where there is none", () => {
  const none = new Webhook({
    target: () => undefined,
    on: { delivery: (outcome) => void outcomes.push(outcome), fault: () => {} },
    now: Date.now,
  });
  none.tell(APPROVAL);
  expect(outcomes).toEqual([]);
});
