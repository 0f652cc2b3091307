// What cannot be read in exactly one way is answered with why not, recorded, and the connection closed; nothing of it is
// forwarded, and nothing that follows is taken for a request (RFC 9112 §2 to §7 and §11.2).

import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { REASONS, type Reason } from "../../src/net/reasons.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { dialPort, openTunnel, Wire } from "../proxy/wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";
import { type Bad, CHUNKS, CONNECT_BODIES, CONNECTS, FIELDS, LENGTHS, LINES } from "./corpus/requests.ts";
import { twoOrigins } from "../support/two-origins.ts";

const { plain, secure, upstream } = await twoOrigins(["origin.test"]);
let proxy: RunningSallyport;
let recorded = 0;

beforeAll(async () => {
  proxy = await runSallyport(`
${upstream}
anonymous: default
policies:
  default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`);
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
});

const fill = (octets: string, target: string, authority: string): string =>
  octets.replaceAll("{t}", target).replaceAll("{h}", `Host: ${authority}\r\n`).replaceAll("{a}", authority);

/** A TLS record: what arrives at once. */
const ONE_RECORD = 16_384;
const NEXT = "GET {t}/smuggled HTTP/1.1\r\n{h}\r\n";

const named = (cases: readonly Bad[]) => cases.map((bad) => ({ name: bad[0], bad }));

async function openPlain(): Promise<{ wire: Wire; target: string; authority: string }> {
  const authority = `origin.test:${plain.port}`;
  return { wire: await dialPort(proxy.port), target: `http://${authority}`, authority };
}

async function openInside(): Promise<{ wire: Wire; target: string; authority: string }> {
  const authority = `origin.test:${secure.port}`;
  const wire = await openTunnel({
    port: proxy.port,
    target: authority,
    tls: { ca: proxy.trustAnchor, servername: "origin.test" },
  });
  if (!(wire instanceof Wire)) throw new Error("no tunnel");
  return { wire, target: "", authority };
}

async function refused(
  { wire, target, authority }: Awaited<ReturnType<typeof openPlain>>,
  [, octets, status = 400]: Bad,
  next = NEXT,
): Promise<void> {
  await using used = wire;
  used.write(fill(octets + next, target, authority));
  const answer = await used.answer();
  expect(answer.status).toBe(status);
  expect(answer.field("connection")).toBe("close");
  expect(await used.rest()).toBe("");
  used.socket.destroy();
  const reason = answer.field("sallyport-reason") as Reason;
  expect(["malformed", "limit"]).toContain(REASONS[reason].kind);
  // Nobody downstream may take the page for anything else.
  expect(answer.head).not.toMatch(/[^\x20-\x7e\r\n]/);
  const records = (await proxy.recorded((all) => all.length > recorded && settled(all))).slice(recorded);
  const last = exchanges(records).at(-1);
  // A body that is found out only after its beginning was judged ends in its completion.
  if (octets.length < ONE_RECORD) expect(last?.decision).toMatchObject({ verdict: "deny", reason });
  expect(last?.completion).toMatchObject({ outcome: "refused", reason, status });
  expect(answer.field("sallyport-audit-id")).toBe(last?.decision["id"]);
  expect([plain, secure].map(({ received }) => received)).toEqual(["", ""]);
}

describe.each([
  { where: "on a plain connection", open: openPlain },
  { where: "in a tunnel", open: openInside },
])("$where", ({ where, open }) => {
  const inside = where === "in a tunnel";
  // There a URL for another authority is readable, and denied.
  const lines = LINES.filter(([, octets]) => !inside || !/^GET http:\/\/(?!user)[^ ]*:80\//.test(octets));
  // There TLS is told no in its own words: below.
  const http = lines.filter(([, octets]) => inside || !octets.startsWith("\x16"));
  test.each(named([...LENGTHS, ...CHUNKS, ...FIELDS, ...http]))("$name", async ({ bad }) => {
    await refused(await open(), bad);
  });
});

test("TLS on the wrong port: an alert, and a record", async () => {
  const { wire } = await openPlain();
  await using used = wire;
  used.write(`\x16\x03\x01\x00\x05hello\r\n\r\n${NEXT}`);
  // Fatal, access_denied.
  expect(await used.rest()).toBe("\x15\x03\x01\x00\x02\x02\x31");
  used.socket.destroy();
  const records = (await proxy.recorded((all) => all.length > recorded && settled(all))).slice(recorded);
  expect(exchanges(records)).toHaveLength(1);
  expect(exchanges(records)[0]?.decision).toMatchObject({
    kind: "handshake",
    verdict: "deny",
    reason: "tls-not-configured",
  });
  expect([plain, secure].map(({ received }) => received)).toEqual(["", ""]);
});

describe("CONNECT", () => {
  test.each(named([...CONNECTS, ...CONNECT_BODIES]))("$name", async ({ bad }) => {
    await refused(await openPlain(), bad);
  });
});

test("a head or body that ends early is no request", async () => {
  for (const octets of [
    "GET {t}/bad HTT",
    "GET {t}/bad HTTP/1.1\r\n{h}",
    "GET {t}/bad HTTP/1.1\r\n{h}A: b",
  ]) {
    const { wire, target, authority } = await openPlain();
    await using used = wire;
    used.write(fill(octets, target, authority));
    used.socket.end();
    expect((await used.answer()).status).toBe(400);
    await used.rest();
  }
  expect(plain.received).toBe("");
});
