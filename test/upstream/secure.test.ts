import { once } from "node:events";
import { writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import type { TlsOptions, TLSSocket } from "node:tls";
import { afterAll, describe, expect, test } from "vitest";

import type { Host } from "../../src/net/host.ts";
import type { Reason } from "../../src/net/reasons.ts";
import { secure } from "../../src/upstream/dial.ts";
import { createSessions } from "../../src/upstream/sessions.ts";
import type { Session } from "../../src/upstream/sessions.ts";
import { createTrust } from "../../src/upstream/trust.ts";
import { createCa, createSelfSigned } from "../support/pki.ts";
import type { Issued } from "../support/pki.ts";
import { tlsOrigin } from "./origins.ts";

const DAY = 86_400_000;
const HOST = "origin.example" as Host;
const names = [HOST];
const directory = mkdtempSync(join(tmpdir(), "sallyport-secure-"));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const ca = createCa();
const weakCa = createCa({ commonName: "Weak", key: "rsa1024" });
const smallCurveCa = createCa({ commonName: "Small curve", key: "p224" });
const trust = createTrust({ trust: [file("ca.pem", ca.cert + weakCa.cert + smallCurveCa.cert)] });

type Try = { host?: Host; port: number; over?: typeof trust; sessions?: ReturnType<typeof createSessions> };

async function shake({ host = HOST, port, over = trust, sessions }: Try): Promise<TLSSocket> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return secure({
    socket,
    host,
    port,
    trust: over,
    alpn: ["http/1.1"],
    handshakeMs: 5_000,
    signal: new AbortController().signal,
    ...(sessions ? { sessions } : {}),
  });
}

/** Sends and waits for the echo. */
async function exchange(socket: TLSSocket): Promise<string> {
  socket.write("ping");
  const [data] = (await once(socket, "data")) as [Buffer];
  return data.toString();
}

const expired = { notBefore: new Date(Date.now() - 5 * DAY), notAfter: new Date(Date.now() - DAY) };
const under = (options: Parameters<typeof createCa>[0]) =>
  ca.issue({ commonName: "Intermediate", ca: true, ...options });
const leafOnly = (issued: Issued) => ({ ...issued, chain: issued.cert });
const foreign = createCa({ commonName: "Foreign" });
const foreignLeaf = foreign.issue({ names });

const refusedCases: [string, Reason, Issued][] = [
  ["expired", "certificate-expired", ca.issue({ names, ...expired })],
  ["expired a second ago", "certificate-expired", ca.issue({ names, notAfter: new Date(Date.now() - 1000) })],
  ["expired intermediate", "certificate-expired", under(expired).issue({ names })],
  ["not valid yet", "certificate-not-yet-valid", ca.issue({ names, notBefore: new Date(Date.now() + DAY) })],
  ["self-signed", "certificate-untrusted", createSelfSigned({ names })],
  ["issued by an unknown authority", "certificate-untrusted", foreignLeaf],
  [
    "... which is sent along",
    "certificate-untrusted",
    { ...foreignLeaf, chain: foreignLeaf.cert + foreign.cert },
  ],
  ["intermediate not sent", "certificate-untrusted", leafOnly(under({}).issue({ names }))],
  ["other name", "certificate-name-mismatch", ca.issue({ names: ["other.example"] })],
  ["name in the subject only", "certificate-name-mismatch", ca.issue({ commonName: HOST })],
  [
    "name in the subject, another in SAN",
    "certificate-name-mismatch",
    ca.issue({ commonName: HOST, names: ["other.example"] }),
  ],
  ["wildcard over one label", "certificate-name-mismatch", ca.issue({ names: ["*.example"] })],
  ["RSA-1024", "certificate-weak", ca.issue({ names, key: "rsa1024" })],
  ["SHA-1", "certificate-weak", ca.issue({ names, hash: "sha1" })],
  ["SHA-1 intermediate", "certificate-weak", under({ hash: "sha1" }).issue({ names })],
  ["RSA-1024 intermediate", "certificate-weak", under({ key: "rsa1024" }).issue({ names })],
  ["RSA-1024 root", "certificate-weak", weakCa.issue({ names })],
  ["P-224 intermediate", "certificate-weak", under({ key: "p224" }).issue({ names })],
  ["P-224 root", "certificate-weak", smallCurveCa.issue({ names })],
  ["issuer is no authority", "certificate-invalid", ca.issue({ names }).issue({ names })],
  [
    "path too long",
    "certificate-invalid",
    under({ pathLength: 0 }).issue({ commonName: "More", ca: true }).issue({ names }),
  ],
  ["for clients", "certificate-invalid", ca.issue({ names, usage: "clientAuth" })],
  [
    "outside the permitted names",
    "certificate-invalid",
    under({ permitted: ["other.example"] }).issue({ names }),
  ],
  ["inside the excluded names", "certificate-invalid", under({ excluded: ["example"] }).issue({ names })],
  ["unknown critical extension", "certificate-invalid", ca.issue({ names, unknownCritical: true })],
];

const acceptedCases: [string, Issued][] = [
  ["P-256", ca.issue({ names })],
  ["RSA-2048", ca.issue({ names, key: "rsa2048" })],
  ["through an intermediate", under({}).issue({ names })],
  ["with the root sent too", { ...ca.issue({ names }), chain: ca.issue({ names }).cert + ca.cert }],
  ["inside the permitted names", under({ permitted: ["example"] }).issue({ names })],
  [
    "path just short enough",
    under({ pathLength: 1 }).issue({ commonName: "More", ca: true }).issue({ names }),
  ],
];

/** Its public key is of an algorithm that there is not. */
function unreadable(der: Buffer): string {
  const changed = Buffer.from(der);
  const ecPublicKey = Buffer.from("06072a8648ce3d0201", "hex");
  changed[changed.indexOf(ecPublicKey) + ecPublicKey.length - 1] = 0x7f;
  return `-----BEGIN CERTIFICATE-----\n${changed.toString("base64")}\n-----END CERTIFICATE-----\n`;
}

describe.each(["TLSv1.2", "TLSv1.3"] as const)("%s", (maxVersion) => {
  test.each(refusedCases)("refuses a certificate: %s (%s)", async (_, reason, keys) => {
    await using origin = await tlsOrigin(keys, { maxVersion });
    await expect(shake({ port: origin.port })).rejects.toMatchObject({ name: "ProxyFault", reason });
    expect(origin.received()).toBe(0);
  });

  test.each(acceptedCases.filter(([name]) => name !== "with the root sent too"))(
    "accepts a certificate: %s",
    async (_, keys) => {
      await using origin = await tlsOrigin(keys, { maxVersion, ALPNProtocols: ["http/1.1"] });
      const socket = await shake({ port: origin.port });
      expect(await exchange(socket)).toBe("ping");
      expect([socket.authorized, socket.getProtocol(), socket.alpnProtocol, origin.names]).toEqual([
        true,
        maxVersion,
        "http/1.1",
        [HOST],
      ]);
      socket.destroy();
    },
  );

  test("resumes a session only for the same host, port and trust", async () => {
    await using origin = await tlsOrigin(ca.issue({ names: [HOST, "second.example"] }), { maxVersion });
    const sessions = createSessions();
    const again = async (options: Partial<Try> = {}) => {
      const socket = await shake({ port: origin.port, sessions, ...options });
      await exchange(socket);
      const resumed = [socket.isSessionReused(), socket.authorized];
      socket.destroy();
      return resumed;
    };
    expect(await again()).toEqual([false, true]);
    expect(await again()).toEqual([true, true]);
    expect(await again()).toEqual([true, true]);
    expect(await again({ host: "second.example" as Host })).toEqual([false, true]);
    const narrower = createTrust({ trust: [file(`narrow-${maxVersion}.pem`, ca.cert)] });
    expect(await again({ over: narrower })).toEqual([false, true]);
    expect(await again()).toEqual([true, true]);
  });

  test("keeps a session no longer than the chain is valid", async () => {
    const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + DAY);
    await using origin = await tlsOrigin(under({ notAfter }).issue({ names }), { maxVersion });
    const kept: Session[] = [];
    const sessions = { ...createSessions(), put: (_: string, session: Session) => void kept.push(session) };
    const socket = await shake({ port: origin.port, sessions });
    await exchange(socket);
    socket.destroy();
    expect(new Set(kept.map(({ until }) => until))).toEqual(new Set([notAfter.getTime()]));
  });

  test("keeps no session of an origin that it refused", async () => {
    await using origin = await tlsOrigin(ca.issue({ names: ["other.example"] }), { maxVersion });
    const kept: Session[] = [];
    const sessions = { ...createSessions(), put: (_: string, session: Session) => void kept.push(session) };
    await expect(shake({ port: origin.port, sessions })).rejects.toMatchObject({
      reason: "certificate-name-mismatch",
    });
    expect(kept).toEqual([]);
  });

  test("revocation lists speak for their own issuer", async () => {
    const other = createCa({ commonName: "No list" });
    const intermediate = ca.issue({ commonName: "Listed", ca: true });
    const [good, bad] = [intermediate.issue({ names }), intermediate.issue({ names })];
    const anchors = file(`crl-ca-${maxVersion}.pem`, ca.cert + other.cert);
    const listed = (name: string, text: string) =>
      createTrust({ trust: [anchors], crlFiles: [file(`${name}-${maxVersion}.crl`, text)] });
    const current = listed("current", intermediate.crl({ revoked: [bad] }));
    const ranOut = listed(
      "ran-out",
      intermediate.crl({ revoked: [], nextUpdate: new Date(Date.now() - 1000) }),
    );
    const above = listed("above", ca.crl({ revoked: [intermediate] }));
    const outcome = async (keys: Issued, over: typeof trust) => {
      await using origin = await tlsOrigin(keys, { maxVersion });
      const result = await shake({ port: origin.port, over }).then(
        (socket) => (socket.destroy(), "accepted"),
        (error: { reason: string }) => error.reason,
      );
      expect(origin.received()).toBe(0);
      return result;
    };
    expect(await outcome(good, current)).toBe("accepted");
    expect(await outcome(bad, current)).toBe("certificate-revoked");
    expect(await outcome(other.issue({ names }), current)).toBe("accepted");
    expect(await outcome(good, ranOut)).toBe("certificate-invalid");
    expect(await outcome(good, above)).toBe("certificate-revoked");
  });

  test("who was revoked cannot hide behind a twin, whatever else is sent, in whatever order", async () => {
    const like = { commonName: "Twin", ca: true, keyId: Buffer.alloc(20, 7) };
    const real = ca.issue(like);
    const leaf = real.issue({ names });
    const twins = [foreign.issue(like), foreign.issue({ ...like, ...expired })].map(({ cert }) => cert);
    const crl = file(`twin-${maxVersion}.crl`, ca.crl({ revoked: [real] }));
    const over = createTrust({ trust: [file(`twin-${maxVersion}.pem`, ca.cert)], crlFiles: [crl] });
    for (const twin of twins) {
      for (const rest of [twin + real.cert, real.cert + twin, twin + foreign.cert + real.cert + ca.cert]) {
        await using origin = await tlsOrigin({ ...leaf, chain: leaf.cert + rest }, { maxVersion });
        const result = await shake({ port: origin.port, over }).then(
          (socket) => (socket.destroy(), "accepted"),
          (error: { reason: string }) => error.reason,
        );
        expect(["certificate-revoked", "certificate-invalid", "certificate-untrusted"]).toContain(result);
        expect(origin.received()).toBe(0);
      }
    }
  });

  test("a chain in disorder is judged as one in order", async () => {
    const middle = under({ key: "p224" });
    const leaf = under({}).issue({ names });
    const weak = middle.issue({ names });
    const rest = (chain: string): string[] => chain.match(/-+BEGIN[^]*?END CERTIFICATE-+\n/g) ?? [];
    const upsideDown = ({ chain, cert, key }: Issued) => ({
      chain: cert + foreign.cert + rest(chain).slice(1).toReversed().join("") + ca.cert,
      key,
    });
    await using fine = await tlsOrigin(upsideDown(leaf), { maxVersion });
    const socket = await shake({ port: fine.port });
    expect(socket.authorized).toBe(true);
    socket.destroy();
    await using bad = await tlsOrigin(upsideDown(weak), { maxVersion });
    await expect(shake({ port: bad.port })).rejects.toMatchObject({ reason: "certificate-weak" });
  });
});

test("a crowd of certificates is refused: who was revoked could hide behind it", async () => {
  const like = { commonName: "Twin", ca: true, keyId: Buffer.alloc(20, 7) };
  const real = ca.issue(like);
  const leaf = real.issue({ names });
  const twin = foreign.issue({ ...like, ...expired }).cert;
  for (const [count, outcome] of [
    [30, true],
    [31, false],
  ] as const) {
    await using origin = await tlsOrigin({ ...leaf, chain: leaf.cert + twin.repeat(count) + real.cert });
    const result = shake({ port: origin.port }).then((socket) => (socket.destroy(), socket.authorized));
    if (outcome) expect(await result).toBe(true);
    else await expect(result).rejects.toMatchObject({ reason: "certificate-invalid" });
  }
});

test("a twin with a key that nobody can read is no more than in the way", async () => {
  const like = { commonName: "Twin", ca: true, keyId: Buffer.alloc(20, 7) };
  const real = ca.issue(like);
  const leaf = real.issue({ names });
  const twin = unreadable(foreign.issue(like).x509.raw);
  const outcome = async (chain: string) => {
    await using origin = await tlsOrigin({ ...leaf, chain });
    return await shake({ port: origin.port }).then(
      (socket) => (socket.destroy(), "accepted"),
      (error: { reason: string }) => error.reason,
    );
  };
  expect(await outcome(leaf.cert + twin + real.cert)).toBe("accepted");
  expect(await outcome(leaf.cert + real.cert + twin)).toBe("accepted");
  expect(await outcome(leaf.cert + twin)).toBe("certificate-untrusted");
});

test("accepts a chain that has the root in it", async () => {
  const leaf = ca.issue({ names });
  await using origin = await tlsOrigin({ ...leaf, chain: leaf.cert + ca.cert });
  const socket = await shake({ port: origin.port });
  expect(socket.authorized).toBe(true);
  socket.destroy();
});

test("TLS within TLS, as through a parent proxy", async () => {
  await using origin = await tlsOrigin(ca.issue({ names }));
  const { chain, key } = ca.issue({ names: ["parent.example"] });
  const parent = createTlsServer({ cert: chain, key }, (inner) => {
    const onward = connect(origin.port, "127.0.0.1");
    onward.on("error", () => inner.destroy());
    inner.on("error", () => onward.destroy());
    inner.pipe(onward).pipe(inner);
  }).listen(0, "127.0.0.1");
  await once(parent, "listening");
  const { port } = parent.address() as AddressInfo;
  const outer = await shake({ port, host: "parent.example" as Host });
  const options = { socket: outer, host: HOST, port: origin.port, trust, alpn: [], handshakeMs: 5_000 };
  const socket = await secure({ ...options, signal: new AbortController().signal });
  expect(await exchange(socket)).toBe("ping");
  expect(origin.names).toEqual([HOST]);
  socket.destroy();
  outer.destroy();
  parent.close();
});

test("a connection that has gone already is a reset", async () => {
  const socket = connect(1, "127.0.0.1");
  socket.destroy();
  const options = { socket, host: HOST, port: 1, trust, alpn: [], handshakeMs: 5_000 };
  const attempt = secure({ ...options, signal: new AbortController().signal });
  await expect(attempt).rejects.toMatchObject({ reason: "upstream-reset" });
});

test("address literals: the IP name counts, and no server name is sent", async () => {
  const host = "127.0.0.1" as Host;
  await using origin = await tlsOrigin(ca.issue({ names: ["127.0.0.1"] }));
  const socket = await shake({ port: origin.port, host });
  expect(await exchange(socket)).toBe("ping");
  expect(origin.names).toEqual([""]);
  socket.destroy();
  await using named = await tlsOrigin(ca.issue({ names: ["localhost", "*.0.0.1"], commonName: "127.0.0.1" }));
  await expect(shake({ port: named.port, host })).rejects.toMatchObject({
    reason: "certificate-name-mismatch",
  });
});

const protocolCases: [string, TlsOptions][] = [
  ["TLS 1.1", { minVersion: "TLSv1", maxVersion: "TLSv1.1" }],
  ["no forward secrecy", { maxVersion: "TLSv1.2", ciphers: "AES128-GCM-SHA256:@SECLEVEL=0" }],
  ["anonymous", { maxVersion: "TLSv1.2", ciphers: "aNULL:@SECLEVEL=0" }],
  ["SHA-1 handshake signature", { maxVersion: "TLSv1.2", sigalgs: "RSA+SHA1" }],
];
test.each(protocolCases)("refuses a weak protocol: %s", async (_, options) => {
  await using origin = await tlsOrigin(ca.issue({ names, key: "rsa2048" }), options);
  await expect(shake({ port: origin.port })).rejects.toMatchObject({ reason: "upstream-tls-failed" });
  expect(origin.received()).toBe(0);
});

describe("an origin that does not speak TLS", () => {
  const serve = async (act: (socket: Socket) => void) => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      act(socket);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return server;
  };
  test.each([
    ["answers in clear text", "upstream-tls-failed", (s) => s.end("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["closes", "upstream-reset", (s) => s.end()],
    ["resets", "upstream-reset", (s) => s.once("data", () => s.resetAndDestroy())],
    ["is silent", "upstream-timeout", () => {}],
  ] as [string, Reason, (socket: Socket) => void][])("%s: %s", async (_, reason, act) => {
    const server = await serve(act);
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, "127.0.0.1");
    const signal = new AbortController().signal;
    const attempt = secure({ socket, host: HOST, port, trust, alpn: [], handshakeMs: 300, signal });
    await expect(attempt).rejects.toMatchObject({ reason });
    expect(socket.destroyed).toBe(true);
    server.close();
  });

  test("an abort ends the handshake and the connection", async () => {
    const server = await serve(() => {});
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, "127.0.0.1");
    await once(socket, "connect");
    const controller = new AbortController();
    const options = {
      socket,
      host: HOST,
      port,
      trust,
      alpn: [],
      handshakeMs: 5_000,
      signal: controller.signal,
    };
    const attempt = secure(options);
    const reason = new Error("the sandbox left");
    controller.abort(reason);
    await expect(attempt).rejects.toBe(reason);
    expect(socket.destroyed).toBe(true);
    await expect(secure({ ...options, socket: connect(port, "127.0.0.1") })).rejects.toBe(reason);
    server.close();
  });
});
