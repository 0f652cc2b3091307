// The audit log's disk is full: nothing leaves, everybody is told, and service resumes by itself once there is room.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { verifyAudit } from "../../src/audit/verify.ts";
import { auditRecords } from "../support/audit-records.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { answers, tunnelWire, wire } from "../support/wire.ts";

const disk = mkdtempSync(join(tmpdir(), "sallyport-disk-"));
const mounted = mount();
if (!mounted && process.env["CI"] === "true") throw new Error("this test needs to mount a tmpfs, as root");
afterAll(() => {
  if (mounted) execFileSync("umount", ["--lazy", disk]);
  rmSync(disk, { recursive: true, force: true });
});

describe.skipIf(!mounted)("with the disk full (a tmpfs; needs root)", () => {
  test.each(["process", "disk"])("nothing leaves, and service resumes: durability %s", async (durability) => {
    await using origin = await recordingOrigin();
    const directory = join(disk, durability);
    await using proxy = await runSallyport(`
audit: { directory: ${directory}, durability: ${durability} }
upstream: { hosts: { origin.test: [127.0.0.1] } }
anonymous: default
policies:
  default: { preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`);
    const authority = `origin.test:${origin.port}`;
    const request = (path: string): string =>
      `POST http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\nContent-Length: 6\r\n\r\nsecret`;
    // Open and in use before the disk is full, so that nothing else is in the way.
    using kept = await wire(proxy.port);
    kept.send(request("/before"));
    await kept.until((text) => text.includes("ok\n"));
    expect(await readyz(proxy)).toMatchObject({ status: 200, audit: "healthy" });

    const filler = join(disk, "filler");
    fill(filler);
    const send = async (path: string): Promise<string> => {
      const before = answers(kept.received).length;
      kept.send(request(path));
      return answers(await kept.until((text) => answers(text).length > before)).at(-1) ?? "";
    };
    // The last page of the segment may still have room for some.
    let written = 0;
    while ((await send(`/room-${written}`)).startsWith("HTTP/1.1 200")) written++;
    expect(written).toBeLessThan(20);
    origin.reset();
    for (let count = 0; count < 20; count++) {
      expect(await send(`/full-${count}`)).toMatch(
        /^HTTP\/1\.1 503 [^]*Sallyport-Reason: audit-unavailable\r\n/,
      );
    }
    await expect(tunnelWire(proxy.port, { authority, trustAnchor: proxy.trustAnchor })).rejects.toThrow(
      /503 Service Unavailable \(sallyport: audit-unavailable\)/,
    );
    using denied = await wire(proxy.port);
    denied.send("GET http://denied.example/ HTTP/1.1\r\nHost: denied.example\r\n\r\n");
    expect(await denied.until((text) => answers(text).length === 1)).toContain("audit-unavailable");
    expect(origin.received).toBe("");
    expect(await readyz(proxy)).toMatchObject({ status: 503, ready: false, audit: "failing" });
    const metrics = await proxy.metrics();
    expect(metrics).toMatch(/^sallyport_audit_healthy 0$/m);
    expect(metrics).toMatch(/^sallyport_faults_total\{reason="audit-unavailable"\} 2[0-9]$/m);
    // What was not let out is not counted as let out.
    expect(
      Number(/^sallyport_decisions_total\{verdict="allow",.*method="POST".*\} (\d+)$/m.exec(metrics)?.[1]),
    ).toBe(written + 1);

    await unlink(filler);
    await expect.poll(async () => (await readyz(proxy)).status, { timeout: 10_000 }).toBe(200);
    expect(await send("/after")).toMatch(/^HTTP\/1\.1 200 /);
    expect(await proxy.metrics()).toMatch(/^sallyport_audit_healthy 1$/m);
    expect(origin.received).toMatch(/^POST \/after /);

    await proxy.sallyport.stop();
    expect(await verifyAudit({ from: { directory } })).toMatchObject({
      ok: true,
      warnings: [],
      openDecisions: 0,
    });
    const records = await auditRecords(directory);
    const paths = records.flatMap((one) => (one.type === "decision" ? [one["path"]] : []));
    expect(paths).toEqual([
      "/before",
      ...Array.from({ length: written }, (_, at) => `/room-${at}`),
      "/after",
    ]);
    expect(records.find((one) => one.type === "recovered")).toMatchObject({
      cause: "failure",
      fault: "ENOSPC",
      refused: 23,
    });
  });
});

async function readyz({ adminPort }: RunningSallyport): Promise<{ status: number }> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`);
  return { status: response.status, ...((await response.json()) as object) };
}

function fill(path: string): void {
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(path, Buffer.alloc(bavail * bsize));
}

function mount(): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "none", disk], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
