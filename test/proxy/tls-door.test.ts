// TLS to the proxy itself: HTTP and SOCKS5 inside it, TLS inside that, client certificates as identity, and every way in
// which a handshake can fail, on record.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { once } from "node:events";
import type { Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, TLSSocket } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { capture } from "../net/hellos.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { answerRequests, OK, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { socks5 } from "../support/ways/socks5.ts";
import { tlsToProxy } from "../support/ways/tls-door.ts";
import { trustFile } from "../support/trust-file.ts";
import { dialPort, Wire } from "./wire.ts";
import { exchanges, settled } from "../support/audit-records.ts";

let ca: Issued;
let clients: Issued;
let origin: RecordingOrigin;
let plain: RecordingOrigin;
let proxy: RunningSallyport;
let recorded = 0;
let trust: string;
let clientCa: string;

const SANDBOXES = `sandboxes:
  - { id: a, secret: aaaaaaaaaaaaaaaa, policy: default, certificate: "DNS:a.sandboxes.test" }
  - { id: b, policy: default, certificate: "DNS:b.sandboxes.test" }
  - { id: c, secret: cccccccccccccccc, policy: default }
`;
const yaml = (tls: string, more = "anonymous: default\n"): string => `
upstream: { trust: [${trust}], hosts: { origin.test: [127.0.0.1], plain.test: [127.0.0.1] } }
limits: { drain: 1s, handshake: 800ms, head_time: 800ms }
policies:
  default:
    methods: all
    allow: [{ host: origin.test, networks: [127.0.0.0/8] }, { host: plain.test, networks: [127.0.0.0/8] }]
${tls === "" ? "" : `tls: ${tls}\n`}${more}`;
const BODY = "x".repeat(3_000_000);
const answering = (socket: Socket | TLSSocket): void =>
  answerRequests((head) => {
    if (head.includes(" /whole")) return `HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
    if (!head.includes(" /cut")) return OK;
    setImmediate(() => socket.end());
    return `HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n${BODY}`;
  })(socket);
const NAMES = "names: [proxy.test, 127.0.0.1]";
const asking = (word = ""): string =>
  `{ ${NAMES}, client_ca: ${clientCa}${word === "" ? "" : `, client_certificates: ${word}`} }`;

beforeAll(async () => {
  ca = createCa();
  clients = createCa();
  trust = await trustFile(ca);
  clientCa = await trustFile(clients);
  origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
  plain = await recordingOrigin();
  for (const one of [origin, plain]) one.behave(answering);
  proxy = await runSallyport(yaml(`{ ${NAMES} }`));
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await origin[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
});

beforeEach(async () => {
  recorded = (await proxy.recorded(settled)).length;
  for (const one of [origin, plain]) one.reset();
});

const found = async (enough: number) => {
  const all = await proxy.recorded(
    (records) =>
      settled(records) &&
      exchanges(records.slice(recorded)).filter(({ decision }) => decision["id"]).length >= enough,
  );
  return exchanges(all.slice(recorded));
};
const configured = async (text: string): Promise<void> => {
  expect(await proxy.reconfigure(text)).toBe(true);
  recorded = (await proxy.recorded(settled)).length;
};
const enter = async (options: ConnectionOptions = {}): Promise<Wire> => {
  const socket = await tlsToProxy(proxy.port, {
    ca: proxy.trustAnchor,
    servername: "proxy.test",
    ...options,
  });
  if (!(socket instanceof TLSSocket)) throw socket;
  return new Wire(socket);
};
const refused = async (options: ConnectionOptions): Promise<Error> => {
  const socket = await tlsToProxy(proxy.port, {
    ca: proxy.trustAnchor,
    servername: "proxy.test",
    ...options,
  });
  if (socket instanceof TLSSocket) {
    // In TLS 1.3 the client is done before the server has looked at its certificate.
    const wire = new Wire(socket);
    wire.write(get());
    await wire.until(() => false);
    expect(wire.all).toBe("");
    socket.destroy();
    return new Error("closed");
  }
  return socket;
};
const get = (more = ""): string =>
  `GET http://plain.test:${plain.port}/ HTTP/1.1\r\nHost: plain.test:${plain.port}\r\n${more}\r\n`;
const basic = (text: string): string =>
  `Proxy-Authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`;

async function nested(outer: Wire, tls: ConnectionOptions = {}): Promise<Wire> {
  outer.socket.removeAllListeners("data");
  const secured = connectTls({
    socket: outer.socket,
    servername: "origin.test",
    ca: proxy.trustAnchor,
    ...tls,
  });
  await once(secured, "secureConnect");
  return new Wire(secured);
}

describe("inside it", () => {
  test.each(["TLSv1.2", "TLSv1.3"] as const)("%s: HTTP, and TLS in a tunnel in it", async (version) => {
    const versions = { minVersion: version, maxVersion: version };
    await using wire = await enter(versions);
    wire.write(get());
    expect((await wire.answer()).status).toBe(200);
    const target = `origin.test:${origin.port}`;
    wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    expect((await wire.answer("CONNECT")).status).toBe(200);
    await using inner = await nested(wire, versions);
    inner.write(`GET /x HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
    expect((await inner.answer()).status).toBe(200);
    inner.socket.destroy();
    wire.socket.destroy();
    const [, connect, request] = await found(3);
    expect(connect?.decision).toMatchObject({ kind: "connect", handling: "intercept" });
    expect(request?.decision).toMatchObject({ tunnel: connect?.decision["id"], path: "/x", scheme: "https" });
  });

  test("a large answer in TLS in TLS, and one that is cut stays cut", async () => {
    const target = `origin.test:${origin.port}`;
    for (const path of ["/whole", "/cut"]) {
      await using wire = await enter();
      wire.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      await wire.answer("CONNECT");
      await using inner = await nested(wire);
      inner.write(`GET ${path} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
      if (path === "/whole") {
        expect((await inner.answer()).body.length).toBe(BODY.length);
      } else {
        await inner.close();
        expect([inner.all.length > 1_000, inner.ended]).toEqual([true, false]);
      }
    }
  });

  test("SOCKS5, with HTTP and TLS in it", async () => {
    await using wire = await enter();
    expect(await socks5(wire, { host: "plain.test", port: plain.port })).toBe(0);
    wire.write(`GET / HTTP/1.1\r\nHost: plain.test:${plain.port}\r\n\r\n`);
    expect((await wire.answer()).status).toBe(200);
    await using other = await enter();
    expect(await socks5(other, { host: "origin.test", port: origin.port })).toBe(0);
    await using inner = await nested(other);
    inner.write(`GET / HTTP/1.1\r\nHost: origin.test:${origin.port}\r\n\r\n`);
    expect((await inner.answer()).status).toBe(200);
  });

  test("TLS to the proxy in TLS to the proxy is no request", async () => {
    await using wire = await enter();
    wire.write(await capture({ servername: "proxy.test" }));
    expect((await wire.answer()).status).toBe(400);
    expect((await found(1))[0]?.decision).toMatchObject({ kind: "malformed" });
  });

  test("the port speaks without TLS as before", async () => {
    await using wire = await dialPort(proxy.port);
    expect((await wire.write(get()).answer()).status).toBe(200);
  });

  test("the first octets, one by one", async () => {
    const hello = await capture({ servername: "proxy.test" });
    await using wire = await dialPort(proxy.port);
    for (const octet of hello) {
      wire.write(Buffer.from([octet]));
      await new Promise(setImmediate);
    }
    await wire.until(() => wire.held.length > 5);
    expect(wire.held.slice(0, 2)).toBe("\x16\x03");
  });
});

describe("handshakes", () => {
  test("without a server name the first of its names is shown; an address by its own", async () => {
    const socket = await tlsToProxy(proxy.port, {
      ca: proxy.trustAnchor,
      servername: "",
      checkServerIdentity: (_, { subjectaltname }) =>
        subjectaltname === "DNS:proxy.test" ? undefined : new Error(subjectaltname),
    });
    expect(socket).toBeInstanceOf(TLSSocket);
    if (socket instanceof TLSSocket) socket.destroy();
  });

  test("http/1.1 is all that it speaks", async () => {
    await using wire = await enter({ ALPNProtocols: ["h2", "http/1.1"] });
    expect((wire.socket as TLSSocket).alpnProtocol).toBe("http/1.1");
    expect(await refused({ ALPNProtocols: ["h2"] })).toMatchObject({
      code: "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
    });
    expect((await found(1)).at(-1)?.decision).toMatchObject({
      kind: "handshake",
      reason: "handshake-failed",
    });
  });

  test.each(["origin.test", "x.proxy.test", "sallyport.internal"])(
    "%s is not one of its names",
    async (servername) => {
      expect(await refused({ servername })).toMatchObject({ code: "ERR_SSL_TLSV1_UNRECOGNIZED_NAME" });
      expect((await found(1))[0]?.decision).toMatchObject({
        kind: "handshake",
        verdict: "deny",
        reason: "proxy-name-unknown",
      });
    },
  );

  test("TLS 1.1", async () => {
    const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" } as const;
    expect(await refused(old)).toBeInstanceOf(Error);
    expect((await found(1))[0]?.decision).toMatchObject({ reason: "handshake-failed" });
  });

  test.each([
    { name: "half a ClientHello", cut: 60, reason: "handshake-failed" },
    { name: "a ClientHello and silence", cut: Infinity, reason: "handshake-failed" },
  ])("$name is ended in time", async ({ cut, reason }) => {
    await using wire = await dialPort(proxy.port);
    wire.write((await capture({ servername: "proxy.test" })).subarray(0, cut));
    await wire.until(() => false);
    expect((await found(1))[0]?.decision).toMatchObject({ kind: "handshake", reason });
  });

  test("a malformed ClientHello", async () => {
    await using wire = await dialPort(proxy.port);
    wire.write(Buffer.from([0x16, 3, 1, 0, 4, 2, 0, 0, 0]));
    await wire.until(() => false);
    expect((await found(1))[0]?.decision).toMatchObject({ reason: "client-hello-malformed" });
  });

  test("a session is resumed", async () => {
    const first = await enter({ maxVersion: "TLSv1.2" });
    const session = (first.socket as TLSSocket).getSession();
    first.write(get());
    await first.answer();
    await first[Symbol.asyncDispose]();
    await using second = await enter({ maxVersion: "TLSv1.2", session });
    expect((second.socket as TLSSocket).isSessionReused()).toBe(true);
  });

  test("where it is not configured: an alert, and a record", async () => {
    await configured(yaml(""));
    expect(await refused({})).toMatchObject({ code: "ERR_SSL_TLSV1_ALERT_ACCESS_DENIED" });
    expect((await found(1))[0]?.decision).toMatchObject({ kind: "handshake", reason: "tls-not-configured" });
    await configured(yaml(`{ ${NAMES} }`));
  });

  test("an own certificate, renewed by a reload; one that cannot be used changes nothing", async () => {
    const own = join(proxy.directory, "own.pem");
    const key = join(proxy.directory, "own.key");
    const renew = async () => {
      const issued = ca.issue({ names: ["proxy.test"], key: "rsa2048" });
      await writeFile(own, issued.chain);
      await writeFile(key, issued.key);
      await configured(yaml(`{ names: [proxy.test], cert: ${own}, key: ${key} }`));
      return issued.x509.fingerprint256;
    };
    const shown = async () => {
      await using wire = await enter({ ca: ca.cert });
      return (wire.socket as TLSSocket).getPeerX509Certificate()?.fingerprint256;
    };
    const first = await renew();
    expect(await shown()).toBe(first);
    const second = await renew();
    expect(second).not.toBe(first);
    expect(await shown()).toBe(second);
    const kept = await shown();
    await writeFile(key, "no key");
    expect(await proxy.reconfigure(yaml(`{ names: [proxy.test], cert: ${own}, key: ${key} }`))).toBe(false);
    expect(await shown()).toBe(kept);
    await configured(yaml(`{ ${NAMES} }`));
  });
});

describe("client certificates", () => {
  const shown = (issued: Issued): ConnectionOptions => ({ cert: issued.chain, key: issued.key });
  const client = (names: string[], more = {}): ConnectionOptions =>
    shown(clients.issue({ names, usage: "clientAuth", ...more }));
  const asked = async (options: ConnectionOptions, fields = "") => {
    await using wire = await enter(options);
    const answer = await wire.write(get(fields)).answer();
    return answer.field("sallyport-reason") ?? answer.status;
  };

  test.each(["", "required"])("name the sandbox (%s)", async (word) => {
    await configured(yaml(asking(word), SANDBOXES));
    expect(await asked(client(["a.sandboxes.test"]))).toBe(200);
    expect(await asked(client(["b.sandboxes.test"]))).toBe(200);
    expect((await found(2)).map(({ decision }) => decision["sandbox"])).toEqual(["a", "b"]);
  });

  test("also over SOCKS5 and in the tunnels within", async () => {
    await configured(yaml(asking(), SANDBOXES));
    await using wire = await enter(client(["b.sandboxes.test"]));
    expect(await socks5(wire, { host: "origin.test", port: origin.port })).toBe(0);
    await using inner = await nested(wire);
    inner.write(`GET / HTTP/1.1\r\nHost: origin.test:${origin.port}\r\n\r\n`);
    expect((await inner.answer()).status).toBe(200);
    inner.socket.destroy();
    expect((await found(2)).map(({ decision }) => decision["sandbox"])).toEqual(["b", "b"]);
  });

  test("beside credentials: both name the same sandbox, or neither counts", async () => {
    await configured(yaml(asking(), SANDBOXES));
    const a = client(["a.sandboxes.test"]);
    expect(await asked(a, basic("a:aaaaaaaaaaaaaaaa"))).toBe(200);
    expect(await asked(a, basic("c:cccccccccccccccc"))).toBe("credentials-wrong");
    expect(await asked(a, basic("a:wrong"))).toBe("credentials-wrong");
    expect(await asked({}, basic("c:cccccccccccccccc"))).toBe(200);
    expect(await asked({})).toBe("credentials-missing");
    // It has no secret that anybody could guess.
    expect(await asked({}, basic("b:undefined"))).toBe("credentials-wrong");
  });

  test("that name nobody, or two, or only look alike", async () => {
    await configured(yaml(asking(), `${SANDBOXES}anonymous: default\n`));
    expect(await asked(client(["x.sandboxes.test"]))).toBe("credentials-wrong");
    expect(await asked(client(["a.sandboxes.test", "b.sandboxes.test"]))).toBe("credentials-wrong");
    expect(await asked(client(["A.sandboxes.test"]))).toBe("credentials-wrong");
    expect(await asked(client([], { commonName: "DNS:a.sandboxes.test" }))).toBe("credentials-wrong");
    for (const name of ["x.test, DNS:a.sandboxes.test", "x.test, DNS:a.sandboxes.test, DNS:y.test"])
      expect(await asked(client([name]))).toBe("credentials-wrong");
    expect(await asked(client(["a.sandboxes.test", "other.test"]))).toBe(200);
    expect(await asked({})).toBe(200);
  });

  test.each<[string, () => Issued]>([
    ["another authority's", () => createCa().issue({ names: ["a.sandboxes.test"], usage: "clientAuth" })],
    ["the trust anchor of origins", () => ca.issue({ names: ["a.sandboxes.test"], usage: "clientAuth" })],
    [
      "expired",
      () =>
        clients.issue({
          names: ["a.sandboxes.test"],
          usage: "clientAuth",
          notAfter: new Date(Date.now() - 1000),
        }),
    ],
    ["a server's", () => clients.issue({ names: ["a.sandboxes.test"] })],
  ])("%s is refused, and recorded", async (_, make) => {
    for (const word of ["optional", "required"]) {
      await configured(yaml(asking(word), `${SANDBOXES}anonymous: default\n`));
      expect(await refused(shown(make()))).toBeInstanceOf(Error);
      expect((await found(1))[0]?.decision).toMatchObject({
        kind: "handshake",
        verdict: "deny",
        reason: "client-certificate-refused",
      });
    }
    expect(plain.connections).toBe(0);
  });

  test("required and missing", async () => {
    await configured(yaml(asking("required"), `${SANDBOXES}anonymous: default\n`));
    await refused({});
    expect((await found(1))[0]?.decision).toMatchObject({ kind: "handshake", reason: "handshake-failed" });
  });

  test("no session brings back a certificate of before", async () => {
    await configured(yaml(asking(), SANDBOXES));
    for (const version of ["TLSv1.2", "TLSv1.3"] as const) {
      const first = await enter({ ...client(["a.sandboxes.test"]), maxVersion: version });
      let session: Buffer | undefined = (first.socket as TLSSocket).getSession();
      (first.socket as TLSSocket).on("session", (newer: Buffer) => (session = newer));
      first.write(get());
      await first.answer();
      await first[Symbol.asyncDispose]();
      await using second = await enter({ session, maxVersion: version });
      expect((second.socket as TLSSocket).isSessionReused()).toBe(false);
      expect((await second.write(get()).answer()).status).toBe(407);
    }
  });

  test("a sandbox that loses its name loses its requests", async () => {
    await configured(yaml(asking(), SANDBOXES));
    await using wire = await enter(client(["a.sandboxes.test"]));
    expect((await wire.write(get()).answer()).status).toBe(200);
    await proxy.reconfigure(yaml(asking(), SANDBOXES.replace("DNS:a.", "DNS:z.")));
    expect((await wire.write(get()).answer()).status).toBe(407);
  });
});
