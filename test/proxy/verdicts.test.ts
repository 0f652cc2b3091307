// One list of verdicts, over every way that a request can take. Where something is denied, the origin got no octet, and
// where that is known before the dial no connection; nobody was asked for the address of a name that is not permitted.

import { createHash } from "node:crypto";
import type { Socket } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { REASONS, type Reason } from "../../src/net/reasons.ts";
import { replyFor } from "../../src/proxy/socks5-exchange.ts";
import { createNameServer, type NameServer } from "../support/dns.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingHttp2Origin, type RecordingHttp2Origin } from "../support/recording-http2-origin.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";
import { CASES, type Case, CREDENTIALS, POLICIES, REQUIREMENTS, ZONES } from "./verdict-cases.ts";
import {
  BALANCED,
  BALANCER,
  credentialsOf,
  isLiteral,
  NO_WAYS,
  send,
  type Told,
  tunnelled,
  type Way,
  WAYS,
} from "./verdict-ways.ts";
import { dialPort } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

let ca: Issued;
let trust: string;
let plain: RecordingOrigin;
let secure: RecordingOrigin;
let secureHttp2: RecordingHttp2Origin;
let dns: NameServer;

beforeAll(async () => {
  ca = createCa();
  trust = await trustFile(ca);
  const certificate = ca.issue({ names: [...Object.keys(ZONES), "127.0.0.1"] });
  plain = await recordingOrigin();
  secure = await recordingOrigin(certificate);
  secureHttp2 = await recordingHttp2Origin(certificate);
  dns = await createNameServer(ZONES);
});

afterAll(async () => {
  for (const each of [plain, secure, secureHttp2, dns]) await each[Symbol.asyncDispose]();
});

test.skip.each(NO_WAYS)("%s", () => {});

describe.each(WAYS)("$name", (way) => {
  let proxy: RunningSallyport;
  let pseudonym: string;
  let recorded = 0;
  const originOf = () => (way.inside === "http" ? plain : way.origin === "h2" ? secureHttp2 : secure);

  // One for each way: what reads a log reads it from its beginning.
  beforeAll(async () => {
    const http2 = way.origin === "h2" ? ", http2: always" : "";
    const redirected = `transparent: [{ listen: "127.0.0.1:0", port: ${originOf().port}, sandbox: ${way.sandbox} }]`;
    proxy = await runSallyport(`
upstream: { trust: [${trust}], resolvers: ["${dns.address}"]${http2} }
tls: { names: [proxy.test] }
proxy_protocol: ["${BALANCER}"]
${way.door === "redirected" ? redirected : ""}
${way.yaml}${POLICIES}`);
    const told = await proxy.require(REQUIREMENTS);
    expect(told.filter((line) => !line.includes(" warning: "))).toEqual([]);
    secure.behave(way.inside === "http2" && way.upgrade ? switched : answerRequests(() => OK));
    pseudonym = await pseudonymOf(proxy);
  });
  afterAll(() => proxy[Symbol.asyncDispose]());

  beforeEach(async () => {
    recorded = (await proxy.recorded(settled)).length;
    for (const origin of [plain, secure, secureHttp2]) origin.reset();
    dns.asked.length = 0;
  });

  judgeAll(CASES);
  // After the others: wrong ones make their source wait.
  describe("credentials", () => judgeAll(CREDENTIALS));

  function judgeAll(cases: readonly Case[]): void {
    const skipped = Map.groupBy(cases, (one) => skipOf(way, one));
    for (const one of skipped.get(undefined) ?? []) test(one.name, () => judge(one));
    skipped.delete(undefined);
    for (const [why, those] of skipped) test.skip(`${those.map(({ name }) => name).join("; ")} (${why})`);
  }

  async function judge(one: Case): Promise<void> {
    const asking = { proxy, way, originPort: originOf().port, ca: ca.cert, pseudonym };
    const { told, atDoor } = await send(asking, one);
    const records = (await proxy.recorded((all) => all.length > recorded && settled(all))).slice(recorded);
    const found = exchanges(records);
    const last = found.at(-1);
    const seen = [plain, secure, secureHttp2].map(({ received, connections }) => ({ received, connections }));
    for (const { decision } of found)
      expect(decision["source"]).toMatch(way.balancer ? `${BALANCED}:` : "127.0.0.1:");

    const reason = reasonOf(way, one);
    if (reason === undefined) {
      expect(told).toMatchObject({ status: 200 });
      expect(last?.decision).toMatchObject({ verdict: "allow", sandbox: way.sandbox });
      expect(last?.completion).toMatchObject({ outcome: "completed" });
      expect(seen.filter(({ received }) => received !== "")).toHaveLength(1);
      return;
    }
    expect(seen).toEqual([NOTHING, NOTHING, NOTHING]);
    const { kind } = REASONS[reason];
    expect(last?.decision).toMatchObject({ verdict: kind === "fault" ? "fault" : "deny", reason });
    expect(last?.completion).toMatchObject({ reason });
    expect(found.slice(0, -1).map(({ decision }) => decision["verdict"])).not.toContain("deny");
    if (one.resolves === undefined && one.atConnect !== undefined) expect(dns.asked).toEqual([]);
    if (reason === "sni-mismatch") {
      expect(told).toBeInstanceOf(Error);
      expect(last?.decision["kind"]).toBe("handshake");
      return;
    }
    const unnamed = reason === "sni-missing" || reason === "client-hello-malformed";
    expect(atDoor).toBe(tunnelled(way) && (one.atConnect === true || way.spliced || unnamed));
    // What was not understood is not called an upgrade yet.
    const asksForUpgrade = way.upgrade || (one.headers ?? "").includes("Upgrade:");
    const inside = asksForUpgrade ? ["upgrade", "request"] : ["request"];
    expect(unnamed ? ["handshake"] : atDoor ? ["connect"] : inside).toContain(last?.decision["kind"]);
    if (atDoor && way.door !== "connect") expectShort(way, told, reason);
    else expectPage(told, reason, one.method, last?.decision["id"]);
  }
});

/** Why this cannot be asked that way. */
function skipOf(way: Way, { headers = "", skip }: Case): string | undefined {
  if (way.inside === "http2" && /^(?:connection|upgrade|transfer-encoding):/im.test(headers))
    return "malformed in HTTP/2: test/conformance";
  return skip?.(way);
}

/** Where a way has another word for the same verdict. */
function reasonOf({ door, inside }: Way, one: Case): Reason | undefined {
  const { host = "origin.test", reason, hostField } = one;
  if (door === "absolute") return one.inUrl ?? reason;
  if (door !== "redirected") return reason;
  if (inside === "http") return one.inHost ?? reason;
  // An address is no server name (RFC 6066 §3), so none is sent.
  if (isLiteral(host)) return "sni-missing";
  return reason === "authority-malformed" && hostField === undefined ? "client-hello-malformed" : reason;
}

/** SOCKS5 and TLS have a code for a refusal, and no words. */
function expectShort({ door }: Way, told: Told, reason: Reason): void {
  if (door === "socks5") {
    const credentials = reason.startsWith("credentials-");
    expect(told).toBe(credentials ? undefined : replyFor(reason)[1]);
    return;
  }
  expect(told).toBeInstanceOf(Error);
  const code = (told as NodeJS.ErrnoException).code;
  expect(code).toMatch(REASONS[reason].kind === "fault" ? /ALERT_INTERNAL_ERROR/ : /_ALERT_/);
}

function expectPage(told: Told, reason: Reason, method: string | undefined, id: unknown): void {
  if (told instanceof Error) throw told;
  if (typeof told !== "object") throw new Error(`told ${told}`);
  const { status, proxyError, text } = REASONS[reason];
  expect(told.status).toBe(status);
  expect(told.field("sallyport-reason")).toBe(reason);
  expect(told.field("proxy-status")).toBe(`sallyport; error=${proxyError}; details="${reason}"`);
  expect(told.field("sallyport-audit-id")).toBe(id);
  expect(told.head).not.toContain("-secret");
  if (method !== "HEAD") expect(told.body).toContain(text);
}

async function pseudonymOf({ port }: RunningSallyport): Promise<string> {
  await using wire = await dialPort(port);
  const at = `origin.test:${plain.port}`;
  wire.write(
    `GET http://${at}/ HTTP/1.1\r\nHost: ${at}\r\nProxy-Authorization: Basic ${credentialsOf("limited")}\r\n\r\n`,
  );
  return /1\.1 (\S+)/.exec((await wire.answer()).field("via") ?? "")?.[1] ?? "";
}

/** A WebSocket that is closed as soon as it is open. */
function switched(socket: Socket): void {
  socket.once("data", (head: Buffer) => socket.end(switching(head.toString("latin1"))));
}

function switching(head: string): string {
  const key = /^sec-websocket-key: *(\S+)/im.exec(head)?.[1] ?? "";
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  return `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

const NOTHING = { received: "", connections: 0 };
