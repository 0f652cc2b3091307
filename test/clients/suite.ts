// What every client must show: an allowed download works, a refused host and a refused method are refused readably, the
// refused origin gets no octet, and the audit log says all of it.

import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mkdtemp, rm } from "node:fs/promises";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { AuditRecord } from "../support/audit-records.ts";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { describeWith, openSandbox, type Ran, type Sandbox } from "./sandbox.ts";

export type Client = {
  readonly name: string;
  /** What must be on the machine. */
  readonly programs: readonly string[];
  /** Runs once, before the rest. */
  prepare?(sandbox: Sandbox): Promise<void>;
  /** Fetches, or sends `SECRET` with POST, and prints the answer's body or what went wrong. */
  request(method: "GET" | "POST", url: string, sandbox: Sandbox): readonly string[];
  /** Cannot be told credentials by the environment, so it is tested without. */
  readonly anonymous?: boolean;
  /** Asks for a tunnel even where the URL is http://. Only TLS may be spoken inside one, so that is refused. */
  readonly tunnelsPlain?: boolean;
  /** Every variable that makes it trust the CA, each enough alone, and what it says where none is set. */
  readonly trust?: { readonly variables: readonly string[]; readonly refused: RegExp };
  readonly shows: {
    /** Of a CONNECT that was refused with `host-not-allowed`. */
    readonly refusedHost: RegExp;
    /** Of a POST that was refused with `method-not-allowed`. */
    readonly refusedMethod: RegExp;
  };
};

export const SECRET = "the-code-of-this-repository";
export const PAYLOAD = "the download\n";

export function describeClient(client: Client): void {
  const { name, programs, prepare, request, anonymous, tunnelsPlain, trust, shows } = client;
  describeWith(name, programs, () => {
    const open: AsyncDisposable[] = [];
    let origin: RecordingOrigin;
    let plain: RecordingOrigin;
    let attacker: RecordingOrigin;
    let proxy: RealSallyport;
    let sandbox: Sandbox;
    const id = anonymous === true ? undefined : "agent-1";

    beforeAll(async () => {
      const ca = createCa();
      const anchors = await temporary("sallyport-client-");
      const root = join(anchors.path, "root.pem");
      await writeFile(root, ca.cert);
      origin = await recordingOrigin(ca.issue({ names: ["origin.test"] }));
      plain = await recordingOrigin();
      attacker = await recordingOrigin(ca.issue({ names: ["attacker.example"] }));
      proxy = await startRealSallyport(configuration(root, id), id);
      open.push(anchors, origin, plain, attacker, proxy);
      for (const each of [origin, plain, attacker]) each.behave(answerRequests(() => DOWNLOAD));
      sandbox = await openSandbox(proxy);
      await prepare?.(sandbox);
    }, 120_000);
    afterAll(() => disposeAll(open));
    beforeEach(() => {
      for (const each of [origin, plain, attacker]) each.reset();
    });

    const run = (method: "GET" | "POST", url: string): Promise<Ran> =>
      sandbox.run(request(method, url, sandbox));

    test("an allowed download works", async () => {
      const ran = await run("GET", `https://origin.test:${origin.port}/over-tls`);
      expect(ran.stdout, ran.seen).toContain(PAYLOAD);
      expect(ran.code).toBe(0);
      expect(origin.received).toMatch(/^GET \/over-tls HTTP\/1\.1\r\n/);
      const records = await proxy.recorded(completed("/over-tls"));
      eachMatches(decisions(records, "/over-tls"), {
        kind: "request",
        verdict: "allow",
        method: "GET",
        scheme: "https",
        host: "origin.test",
        ...(id !== undefined && { sandbox: id }),
      });
      expect(
        records.filter(
          ({ type, kind, verdict }) => type === "decision" && kind === "connect" && verdict !== "allow",
        ),
      ).toEqual([]);
    });

    if (tunnelsPlain === true) {
      test("a download without TLS, tunnelled, is refused readably", async () => {
        const ran = await run("GET", `http://origin.test:${plain.port}/plain`);
        expect(ran.seen).toMatch(/reason: {2}not-tls\n {2}audit: {3}[0-9a-f-]{36}\n/);
        expect(plain.received).toBe("");
        const records = await proxy.recorded((all) => all.some(({ reason }) => reason === "not-tls"));
        expect(records).toContainEqual(
          expect.objectContaining({
            type: "decision",
            kind: "handshake",
            verdict: "deny",
            reason: "not-tls",
          }),
        );
      });
    } else {
      test("an allowed download without TLS works", async () => {
        const ran = await run("GET", `http://origin.test:${plain.port}/plain`);
        expect(ran.stdout, ran.seen).toContain(PAYLOAD);
        expect(ran.code).toBe(0);
        expect(plain.received).toMatch(/^GET \/plain HTTP\/1\.1\r\n/);
        const records = await proxy.recorded(completed("/plain"));
        eachMatches(decisions(records, "/plain"), {
          kind: "request",
          verdict: "allow",
          method: "GET",
          scheme: "http",
          host: "origin.test",
        });
      });
    }

    if (trust !== undefined) {
      const { variables, refused } = trust;
      const runWithout = (absent: readonly string[]): Promise<Ran> =>
        sandbox.run([
          "env",
          ...absent.flatMap((variable) => ["-u", variable]),
          ...request("GET", `https://origin.test:${origin.port}/trusted`, sandbox),
        ]);

      test.each(variables)("%s alone makes it trust the CA", async (variable) => {
        const ran = await runWithout(variables.filter((other) => other !== variable));
        expect(ran.stdout, ran.seen).toContain(PAYLOAD);
      });

      test("without the CA it refuses what the proxy shows, and nothing is sent", async () => {
        const ran = await runWithout(variables);
        expect(ran.seen).toMatch(refused);
        expect(ran.code).not.toBe(0);
        expect(origin.received).toBe("");
        await proxy.recorded(handshakeFailed("origin.test"));
      });
    }

    test("a refused host gets nothing, and the person sees why", async () => {
      const ran = await run("GET", `https://attacker.example:${attacker.port}/?${SECRET}`);
      expect(ran.seen).toMatch(shows.refusedHost);
      expect(ran.code).not.toBe(0);
      expect(attacker.connections).toBe(0);
      const refused = (record: AuditRecord): boolean => record["reason"] === "host-not-allowed";
      const records = await proxy.recorded((all) => all.some(refused));
      expect(records.find(refused)).toMatchObject({
        type: "decision",
        kind: "connect",
        verdict: "deny",
        host: "attacker.example",
        port: attacker.port,
      });
    });

    test("a refused method gets nothing, and the person sees why", async () => {
      const ran = await run("POST", `https://origin.test:${origin.port}/sent`);
      expect(ran.seen).toMatch(shows.refusedMethod);
      expect(origin.received).toBe("");
      const records = await proxy.recorded(completed("/sent"));
      eachMatches(decisions(records, "/sent"), {
        kind: "request",
        verdict: "deny",
        reason: "method-not-allowed",
        method: "POST",
      });
      expect(JSON.stringify(records)).not.toContain(SECRET);
      expect(JSON.stringify(records)).not.toContain(CREDENTIAL.slice(1, -1));
    });
  });
}

/** A client may ask more than once. */
function eachMatches(records: readonly AuditRecord[], expected: Readonly<Record<string, unknown>>): void {
  expect(records.length).toBeGreaterThan(0);
  for (const record of records) expect(record).toMatchObject(expected);
}

export function decisions(records: readonly AuditRecord[], path: string): AuditRecord[] {
  return records.filter((record) => record.type === "decision" && record["path"] === path);
}

/** Whether an exchange for this path was decided and ended. */
export function completed(path: string): (records: readonly AuditRecord[]) => boolean {
  return (records) => {
    const ids = new Set(decisions(records, path).map(({ id }) => id));
    return records.some(({ type, id }) => type === "completion" && ids.has(id));
  };
}

/** Whether somebody did not take the leaf for this host. */
export function handshakeFailed(host: string): (records: readonly AuditRecord[]) => boolean {
  return (records) =>
    records.some((record) => record["host"] === host && record["reason"] === "handshake-failed");
}

export async function temporary(prefix: string): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), prefix));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** Last opened, first closed. */
export async function disposeAll(open: readonly AsyncDisposable[]): Promise<void> {
  for (const each of open.toReversed()) await each[Symbol.asyncDispose]();
}

/** Every character that a proxy URL must escape. */
const CREDENTIAL = "p@ss:w/o?rd#%41 +'";

const configuration = (root: string, id: string | undefined): string => `
upstream:
  trust: [system, bundled, ${root}]
  hosts: { origin.test: [127.0.0.1], attacker.example: [127.0.0.1] }
${id === undefined ? "anonymous: default" : `sandboxes: [{ id: ${id}, secret: ${JSON.stringify(CREDENTIAL)}, policy: default }]`}
policies:
  default: { preset: none, methods: read-only, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`;

const DOWNLOAD = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${PAYLOAD.length}\r\n\r\n${PAYLOAD}`;
