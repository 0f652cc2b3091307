// What replicas share of TLS: one trust anchor, one file of ticket keys. A client's session with the one is taken up by the
// other, at both doors, and by nobody else.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openTrustAnchor } from "../../src/tls/trust-anchor.ts";
import { startChild, writeConfig } from "../support/child.ts";
import { createCa } from "../support/pki.ts";

const shared = await mkdtemp(join(tmpdir(), "sallyport-tickets-"));
const KEYS = join(shared, "tickets.key");
const SHARING = `ticket_keys: ${KEYS}`;
let trustAnchor: string;
let one: Replica;
let other: Replica;
let apart: Replica;

beforeAll(async () => {
  trustAnchor = (await openTrustAnchor({ directory: join(shared, "certs") })).anchorPem;
  await renew(KEYS);
  [one, other, apart] = await Promise.all([
    replica(SHARING),
    replica(`${SHARING}\nworkers: 2`),
    replica("workers: 2"),
  ]);
});
afterAll(async () => {
  for (const each of [one, other, apart]) await each.end();
  await rm(shared, { recursive: true });
});

const renew = (file: string): Promise<void> => writeFile(file, randomBytes(48), { mode: 0o600 });

type Replica = {
  readonly port: number;
  readonly reload: () => Promise<void>;
  readonly end: () => Promise<void>;
};

async function replica(more: string, tls = ""): Promise<Replica> {
  const directory = await mkdtemp(join(shared, "replica-"));
  await writeConfig(
    directory,
    `
ca: { cert: ${shared}/certs/ca.pem, key: ${shared}/certs/ca.key }
tls: { names: [proxy.test]${tls} }
policies: { default: { preset: none, allow: [{ host: "*.test" }] } }
anonymous: default
${more}
`,
  );
  const child = await startChild(directory);
  return {
    port: child.port,
    async end() {
      child.signal("SIGKILL");
      await child.ended;
    },
    async reload() {
      const reloaded = child.log.length;
      child.signal("SIGHUP");
      await expect.poll(() => child.log.slice(reloaded).join("\n")).toMatch(/"generation":/);
    },
  };
}

/** TLS to the proxy itself, and TLS to an origin inside a tunnel. */
const DOORS = {
  proxy: async ({ port }: Replica) => ({ port, host: "127.0.0.1", servername: "proxy.test" }),
  tunnel: async (to: Replica) => ({ socket: await tunnelled(to), servername: "origin.test" }),
};

async function tunnelled({ port }: Replica, host = "origin.test"): Promise<Socket> {
  const socket = connectTcp(port, "127.0.0.1");
  socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`);
  const [head] = (await once(socket, "data")) as [Buffer];
  expect(head.toString()).toMatch(/^HTTP\/1\.1 200 /);
  return socket;
}

type Session = { readonly reused: boolean; readonly session: Buffer };

/** Asks for something, as TLS 1.3 hands tickets out behind the handshake. */
async function shake(to: ConnectionOptions, session?: Buffer, maxVersion: "TLSv1.2" | "TLSv1.3" = "TLSv1.3") {
  const socket = connectTls({ ...to, maxVersion, ca: trustAnchor, ...(session && { session }) });
  let ticket = session;
  socket.on("session", (newer: Buffer) => (ticket = newer));
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.write("GET http://sallyport.internal/ca.pem HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n");
  await once(socket, "data");
  const reused = socket.isSessionReused();
  socket.destroy();
  if (ticket === undefined) throw new Error("no ticket was given");
  return { reused, session: ticket } satisfies Session;
}

describe.each(["proxy", "tunnel"] as const)("TLS, door: %s", (door) => {
  const at = DOORS[door];

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "%s: every worker of another replica resumes",
    async (version) => {
      const first = await shake(await at(one), undefined, version);
      expect(first.reused).toBe(false);
      for (let time = 0; time < 6; time++)
        expect(await shake(await at(other), first.session, version)).toMatchObject({ reused: true });
    },
  );

  test("without the file none but the proxy's own workers do", async () => {
    const { session } = await shake(await at(apart));
    for (let time = 0; time < 6; time++)
      expect(await shake(await at(apart), session)).toMatchObject({ reused: true });
    expect(await shake(await at(one), session)).toMatchObject({ reused: false });
  });
});

test.each(["workers: 1", "workers: 2"])("new keys hold from the reload on; %s", async (workers) => {
  const file = join(shared, "rotated.key");
  await copyFile(KEYS, file);
  const rotated = await replica(`ticket_keys: ${file}\n${workers}`);
  onTestFinished(rotated.end);
  for (const at of [DOORS.proxy, DOORS.tunnel])
    expect(await shake(await at(rotated), (await shake(await at(one))).session)).toMatchObject({
      reused: true,
    });
  await renew(file);
  await rotated.reload();
  for (const at of [DOORS.proxy, DOORS.tunnel]) {
    const newer = await shake(await at(rotated), (await shake(await at(one))).session);
    expect(newer).toMatchObject({ reused: false });
    expect(await shake(await at(rotated), newer.session)).toMatchObject({ reused: true });
    // Whoever has the old keys can take up nothing of after.
    expect(await shake(await at(one), newer.session)).toMatchObject({ reused: false });
  }
});

test("a session of one door opens no other, though one key seals them all", async () => {
  const proxy = { port: one.port, host: "127.0.0.1" };
  const { session } = await shake({ ...proxy, servername: "proxy.test" });
  const socket = await tunnelled(one, "proxy.test");
  expect(await shake({ socket, servername: "proxy.test" }, session)).toMatchObject({ reused: false });
});

test("a session without a client certificate is not taken up where one must be shown", async () => {
  const ca = createCa();
  await mkdir(join(shared, "clients"), { recursive: true });
  const authority = join(shared, "clients", "ca.pem");
  await writeFile(authority, ca.cert);
  const guarded = await replica(SHARING, `, client_ca: ${authority}, client_certificates: required`);
  onTestFinished(guarded.end);
  const { session } = await shake(await DOORS.proxy(one));
  const socket = connectTls({ ...(await DOORS.proxy(guarded)), ca: trustAnchor, session });
  const failed = new Promise<Error>((resolve) => socket.on("error", resolve));
  socket.on("secureConnect", () => {
    expect(socket.isSessionReused()).toBe(false);
    socket.write("GET http://sallyport.internal/ca.pem HTTP/1.1\r\nHost: sallyport.internal\r\n\r\n");
  });
  socket.on("data", () => expect.unreachable("it was answered"));
  expect((await failed).message).toMatch(/certificate required|reset|alert/);
});

test("keys that others can read start nothing, and replace nothing", async () => {
  const file = join(shared, "exposed.key");
  await writeFile(file, randomBytes(48), { mode: 0o644 });
  await expect(replica(`ticket_keys: ${file}`)).rejects.toThrow(/exposed\.key can be read by others/);
  await copyFile(KEYS, file);
  await chmod(file, 0o600);
  const running = await replica(`ticket_keys: ${file}`);
  onTestFinished(running.end);
  const { session } = await shake(await DOORS.proxy(running));
  await chmod(file, 0o644);
  await running.reload();
  expect(await shake(await DOORS.proxy(running), session)).toMatchObject({ reused: true });
});
