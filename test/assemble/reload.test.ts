// A new configuration takes the place of the old one as a whole or not at all, and what is live is judged by it.

import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { capture } from "../net/hellos.ts";
import { type AuditRecord, auditRecorded } from "../support/audit-records.ts";
import { type Child, startChild, writeConfig } from "../support/child.ts";
import { createCa } from "../support/pki.ts";
import { recordingOrigin } from "../support/recording-origin.ts";
import { answers, tunnelWire, wire, type Wire } from "../support/wire.ts";

const directory = await mkdtemp(join(tmpdir(), "sallyport-reload-"));
const audit = join(directory, "data", "audit");
const ca = createCa();
const leaf = ca.issue({ names: ["a.test"] });
const origin = await recordingOrigin();
let child: Child;
let trustAnchor: string;

type Changes = { readonly sandboxes?: string; readonly hosts?: string; readonly more?: string };
const ONE = "{ id: one, secret: secret-of-one-16 }";
const TWO = "{ id: two, secret: secret-of-two-16 }";

function config({
  sandboxes = `${ONE}, ${TWO}`,
  hosts = "a.test, b.test, spliced.test",
  more = "",
}: Changes = {}): string {
  const list = sandboxes.replaceAll(" }", ", policy: default }");
  const allow = hosts.split(", ").map((host) => `{ host: ${host}, networks: [127.0.0.0/8] }`);
  return `
upstream: { trust: [ca.pem], crls: [crl.pem], hosts: { a.test: [127.0.0.1], b.test: [127.0.0.1], spliced.test: [127.0.0.1] } }
policies: { default: { preset: none, methods: all, allow: [${allow.join(", ")}], splice: [spliced.test] } }
sandboxes: [${list}]
${more}
`;
}

beforeAll(async () => {
  await writeFile(join(directory, "ca.pem"), ca.cert);
  await writeFile(join(directory, "crl.pem"), ca.crl({ revoked: [] }));
  await writeConfig(directory, config());
  child = await startChild(directory);
  trustAnchor = await readFile(join(directory, "certs", "ca.pem"), "utf8");
});
afterAll(async () => {
  child.signal("SIGKILL");
  await child.ended;
  await origin[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
});

const headers = (id: string): string =>
  `Proxy-Authorization: Basic ${Buffer.from(`${id}:secret-of-${id}-16`).toString("base64")}\r\n`;
const get = (path: string, host = "a.test"): string => {
  const authority = `${host}:${origin.port}`;
  return `GET http://${authority}${path} HTTP/1.1\r\nHost: ${authority}\r\n${headers("one")}\r\n`;
};
const recorded = (enough: (all: AuditRecord[]) => boolean): Promise<AuditRecord[]> =>
  auditRecorded(audit, enough);
const admin = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${child.adminPort}${path}`);

/** Reloads so far, that were taken or refused. */
const reloads = async (): Promise<number> =>
  [...(await (await admin("/metrics")).text()).matchAll(/^sallyport_config_reloads_total.* (\d+)$/gm)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );

/** Resolves when the change has been taken or refused. */
async function reconfigure(changes: Changes): Promise<void> {
  const before = await reloads();
  await writeConfig(directory, config(changes));
  await expect.poll(reloads).toBeGreaterThan(before);
}

async function ask(one: Wire, octets: string): Promise<string> {
  const before = answers(one.received).length;
  one.send(octets);
  return answers(await one.until((text) => answers(text).length > before)).at(-1) ?? "";
}

async function generationOf(path: string): Promise<unknown> {
  const all = await recorded((records) => records.some((one) => one["path"] === path));
  return all.find((one) => one["path"] === path)?.["generation"];
}

describe("reloading", () => {
  test("by the file's change and by SIGHUP; each record says by which generation it was decided", async () => {
    using one = await wire(child.port);
    expect(await ask(one, get("/first"))).toMatch(/^HTTP\/1\.1 200 /);
    await reconfigure({ hosts: "b.test, spliced.test" });
    expect(await ask(one, get("/second"))).toMatch(/^HTTP\/1\.1 403 [^]*host-not-allowed/);
    const before = await reloads();
    child.signal("SIGHUP");
    await expect.poll(reloads).toBe(before + 1);
    expect(await ask(one, get("/third", "b.test"))).toMatch(/^HTTP\/1\.1 200 /);
    expect([
      await generationOf("/first"),
      await generationOf("/second"),
      await generationOf("/third"),
    ]).toEqual([1, 2, 3]);
    expect(await (await admin("/metrics")).text()).toMatch(/^sallyport_policy_generation 3$/m);
    const notes = (await recorded((all) => all.filter((one) => one.type === "reload").length === 2)).flatMap(
      (one) => (one.type === "reload" ? [one["fields"]] : []),
    );
    expect(notes).toEqual([
      { ok: true, cause: "file", generation: 2 },
      { ok: true, cause: "signal", generation: 3 },
    ]);
  });

  test("an invalid file changes nothing but a metric, a log line and /readyz's detail", async () => {
    using one = await wire(child.port);
    await reconfigure({ hosts: "a.test, a..bad" });
    const ready = await admin("/readyz");
    expect(ready.status).toBe(200);
    const detail = (await ready.json()) as { last_reload: { errors: string[] } };
    expect(detail).toMatchObject({ ready: true, generation: 3, last_reload: { ok: false } });
    expect(detail.last_reload.errors[0]).toMatch(/^.*sallyport\.yaml:\d+:\d+ .*a\.\.bad/);
    const metrics = await (await admin("/metrics")).text();
    expect(metrics).toMatch(/^sallyport_config_last_reload_success 0$/m);
    expect(metrics).toMatch(/^sallyport_config_reloads_total\{outcome="failure"\} 1$/m);
    await child.logged(/configuration is not valid; the one before stays in force/);
    expect(await ask(one, get("/still-denied"))).toMatch(/^HTTP\/1\.1 403 /);
    expect(await ask(one, get("/still-allowed", "b.test"))).toMatch(/^HTTP\/1\.1 200 /);
    expect(await generationOf("/still-allowed")).toBe(3);
  });

  test("what cannot change without a restart is warned of, in the log", async () => {
    await reconfigure({ more: "certs: elsewhere\nlimits: { leaves: 7 }" });
    await child.logged(/sallyport\.yaml:\d+:\d+ warning: certs takes effect at restart/);
    await child.logged(/sallyport\.yaml:\d+:\d+ warning: limits\.leaves takes effect at restart/);
  });

  test("limits hold for connections that come after it", async () => {
    await reconfigure({ more: "limits: { head_time: 300ms }" });
    using one = await wire(child.port);
    const from = performance.now();
    await one.closed;
    expect(performance.now() - from).toBeLessThan(5_000);
  });

  test("a removed sandbox's tunnels and downloads are cut, another's are not; a host's likewise", async () => {
    await reconfigure({});
    await using slow = await recordingOrigin();
    slow.behave((socket) => {
      socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbeginning"));
    });
    const authority = `b.test:${slow.port}`;
    const tunnelOf = (id: string): Promise<Wire> =>
      tunnelWire(child.port, { authority: `b.test:${origin.port}`, trustAnchor, headers: headers(id) });
    using theirs = await tunnelOf("one");
    using others = await tunnelOf("two");
    const spliced = await Promise.all(
      ["one", "two"].map(async (id) => {
        const tunnel = await wire(child.port);
        const target = `spliced.test:${slow.port}`;
        tunnel.send(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${headers(id)}\r\n`);
        await tunnel.until((text) => text.includes("\r\n\r\n"));
        tunnel.send(await capture({ servername: "spliced.test" }));
        await tunnel.until((text) => text.includes("beginning"));
        return tunnel;
      }),
    );
    using download = await wire(child.port);
    download.send(`GET http://${authority}/cut HTTP/1.1\r\nHost: ${authority}\r\n${headers("one")}\r\n`);
    await download.until((text) => text.endsWith("beginning"));

    await reconfigure({ sandboxes: TWO });
    await Promise.all([theirs.closed, spliced[0]?.closed, download.closed]);
    expect(download.received).toMatch(/beginning$/);
    const all = await recorded(
      (records) => records.filter((one) => one["reason"] === "policy-changed").length === 3,
    );
    const cut = all.filter((one) => one["reason"] === "policy-changed").map((one) => one["id"]);
    const kinds = all
      .filter((one) => one.type === "decision" && cut.includes(one["id"]))
      .map((one) => one["kind"]);
    expect(new Set(kinds)).toEqual(new Set(["connect", "request"]));
    expect(kinds).toHaveLength(3);

    expect([others.open, spliced[1]?.open]).toEqual([true, true]);
    await reconfigure({ sandboxes: TWO, hosts: "a.test, b.test" });
    await spliced[1]?.closed;
    await recorded((records) => records.filter((one) => one["reason"] === "policy-changed").length === 4);
    expect(others.open).toBe(true);
    for (const one of spliced) one.socket.destroy();
  });

  test("trust anchors and revocation lists are read anew at SIGHUP; where that fails, the old ones hold", async () => {
    await using secure = await recordingOrigin(leaf);
    const authority = `a.test:${secure.port}`;
    const status = async (): Promise<string> => {
      using one = await tunnelWire(child.port, { authority, trustAnchor, headers: headers("two") });
      return (await ask(one, `GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)).split("\r\n", 1)[0] ?? "";
    };
    const signalled = async (): Promise<void> => {
      const before = await reloads();
      child.signal("SIGHUP");
      await expect.poll(reloads).toBe(before + 1);
    };
    await reconfigure({});
    expect(await status()).toMatch(/ 200 /);
    await writeFile(join(directory, "crl.pem"), ca.crl({ revoked: [leaf] }));
    await signalled();
    expect(await status()).toMatch(/ 502 .*certificate-revoked/);
    await writeFile(join(directory, "crl.pem"), "no list");
    await signalled();
    expect(await (await admin("/metrics")).text()).toMatch(/^sallyport_config_last_reload_success 0$/m);
    expect(await status()).toMatch(/ 502 .*certificate-revoked/);
    await writeFile(join(directory, "crl.pem"), ca.crl({ revoked: [] }));
    await signalled();
    expect(await status()).toMatch(/ 200 /);
  });

  test("credentials of a sandbox that is gone are refused on a connection that was good before", async () => {
    await reconfigure({});
    using one = await wire(child.port);
    expect(await ask(one, get("/good"))).toMatch(/^HTTP\/1\.1 200 /);
    await reconfigure({ sandboxes: TWO });
    expect(await ask(one, get("/gone"))).toMatch(/^HTTP\/1\.1 407 [^]*credentials-wrong/);
    await once(one.socket.end(), "close");
  });
});
