// Told to stop, the proxy takes nothing new, lets what is under way end within its time, closes its log and exits 0.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { verifyAudit } from "../../src/audit/verify.ts";
import { auditRecords } from "../support/audit-records.ts";
import { type Child, startChild, writeConfig } from "../support/child.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { tunnelWire, wire, type Wire } from "../support/wire.ts";

const ca = createCa();
const certificate = ca.issue({ names: ["origin.test"] });
let directory: string;
let audit: string;
let child: Child;
let trustAnchor: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sallyport-stop-"));
  audit = join(directory, "data", "audit");
  await writeFile(join(directory, "origin.pem"), ca.cert);
  await writeConfig(
    directory,
    `
upstream: { trust: [origin.pem], hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies: { default: { preset: none, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] } }
limits: { drain: 3s }
`,
  );
  child = await startChild(directory);
  trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
});
afterEach(async () => {
  child.signal("SIGKILL");
  await child.ended;
  await rm(directory, { recursive: true });
});

/** An origin that sends half of its answer, and the rest when told. */
async function halting(secure: boolean): Promise<RecordingOrigin & { finish(): void }> {
  const origin = await recordingOrigin(secure ? certificate : undefined);
  const rest = new Set<() => void>();
  origin.behave((socket) => {
    socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nfirst-"));
    rest.add(() => socket.write("second"));
  });
  return Object.assign(Object.create(origin) as RecordingOrigin, {
    finish: () => {
      for (const one of rest) one();
    },
    [Symbol.asyncDispose]: () => origin[Symbol.asyncDispose](),
  });
}

async function download(port: number, secure: boolean): Promise<Wire> {
  const authority = `origin.test:${port}`;
  const one = secure ? await tunnelWire(child.port, { authority, trustAnchor }) : await wire(child.port);
  one.send(`GET ${secure ? "" : `http://${authority}`}/slow HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  await one.until((text) => text.endsWith("first-"));
  return one;
}

describe("SIGTERM", () => {
  test.each([false, true])(
    "lets a download end, refuses new connections, and exits 0; in a tunnel: %s",
    async (secure) => {
      await using origin = await halting(secure);
      using under = await download(origin.port, secure);
      using idle = await wire(child.port);
      child.signal("SIGTERM");
      await idle.closed;
      expect(idle.received).toBe("");
      using late = await wire(child.port);
      expect(await late.rest()).toMatch(/^HTTP\/1\.1 503 [^]*Sallyport-Reason: draining\r\n/);
      const ready = await fetch(`http://127.0.0.1:${child.adminPort}/readyz`);
      expect([ready.status, await ready.json()]).toMatchObject([503, { ready: false, draining: true }]);

      origin.finish();
      expect(await under.rest()).toMatch(/first-second$/);
      expect(await child.ended).toBe(0);
      const records = await auditRecords(audit);
      expect(records.slice(-2).map((one) => one.type)).toEqual(["stop", "checkpoint"]);
      expect(records.find((one) => one["kind"] === "connection")).toMatchObject({ reason: "draining" });
      const { length } = records;
      expect(await verifyAudit({ from: { directory: audit } })).toMatchObject({
        ok: true,
        warnings: [],
        openDecisions: 0,
        signed: length,
      });
    },
  );

  test("cuts what has not ended in its time, says so in its record, and exits 0", async () => {
    await using origin = await halting(false);
    using under = await download(origin.port, false);
    child.signal("SIGTERM");
    expect(await under.rest()).toMatch(/first-$/);
    expect(await child.ended).toBe(0);
    expect(await auditRecords(audit)).toContainEqual(
      expect.objectContaining({ type: "completion", reason: "draining", status: 200 }),
    );
    expect(await verifyAudit({ from: { directory: audit } })).toMatchObject({ ok: true, openDecisions: 0 });
  });

  test("a second one ends it at once; the log holds, and the next start seals it", async () => {
    await using origin = await halting(true);
    using under = await download(origin.port, true);
    child.signal("SIGTERM");
    await child.logged(/draining/);
    const from = performance.now();
    child.signal("SIGTERM");
    expect(await child.ended).toBe(1);
    expect(performance.now() - from).toBeLessThan(2_000);
    await under.closed;
    expect((await verifyAudit({ from: { directory: audit } })).problem).toBeUndefined();
    child = await startChild(directory);
    expect(await verifyAudit({ from: { directory: audit } })).toMatchObject({ ok: true, recoveries: 1 });
  });
});
