// apt-get against the sources that this machine is set up for, and against an archive of ours over TLS. Its lists and its
// cache are its own; the proxy and the CA come from the environment alone.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { allowRule, aptSites } from "./machine.ts";
import { describeWith, openSandbox, type Ran, type Sandbox } from "./sandbox.ts";
import { disposeAll, temporary } from "./suite.ts";

describeWith("apt-get", ["apt-get"], () => {
  const open: AsyncDisposable[] = [];
  let sites: URL[];
  let archive: RecordingOrigin;
  let attacker: RecordingOrigin;
  let proxy: RealSallyport;
  let sandbox: Sandbox;

  beforeAll(async () => {
    sites = aptSites();
    const ca = createCa();
    const files = await temporary("sallyport-apt-");
    open.push(files);
    const root = join(files.path, "root.pem");
    await writeFile(root, ca.cert);
    archive = await recordingOrigin(ca.issue({ names: ["archive.test"] }));
    archive.behave(answerRequests((head) => (/^GET \S*\/Packages /.test(head) ? PACKAGES : NOT_FOUND)));
    attacker = await recordingOrigin(ca.issue({ names: ["attacker.example"] }));
    proxy = await startRealSallyport(configuration(root, await allowRule(sites)), "agent-1");
    open.push(archive, attacker, proxy);
    sandbox = await openSandbox(proxy);
  });
  afterAll(() => disposeAll(open));

  /** With lists of its own; `source`: instead of this machine's. */
  async function update(name: string, source?: string): Promise<Ran> {
    const place = join(sandbox.home, name);
    for (const part of ["state/lists/partial", "cache/archives/partial"])
      await mkdir(join(place, part), { recursive: true });
    const options = [
      `Dir::State=${place}/state`,
      `Dir::Cache=${place}/cache`,
      "Acquire::Languages=none",
      "Acquire::Retries=0",
    ];
    if (source !== undefined) {
      await writeFile(join(place, "sources.list"), `${source}\n`);
      options.push(
        `Dir::Etc::sourcelist=${place}/sources.list`,
        "Dir::Etc::sourceparts=-",
        "Acquire::Retries=0",
      );
    }
    return sandbox.run(["apt-get", "update", ...options.flatMap((option) => ["-o", option])]);
  }

  test("updates from this machine's sources", async () => {
    const ran = await update("machine");
    expect(ran.code, ran.seen).toBe(0);
    expect(ran.stdout).toMatch(/^Fetched /m);
    expect(ran.stderr).not.toMatch(/Failed to fetch/);
    const requests = (await proxy.records()).filter(
      ({ type, kind }) => type === "decision" && kind === "request",
    );
    const hosts = new Set(requests.map(({ host }) => host));
    expect(hosts).toEqual(new Set(sites.map(({ hostname }) => hostname)));
    expect(new Set(requests.map(({ verdict, method }) => `${verdict} ${method}`))).toEqual(
      new Set(["allow GET"]),
    );
  });

  test("updates over TLS", async () => {
    const ran = await update("ours", `deb [trusted=yes] https://archive.test:${archive.port}/ ./`);
    expect(ran.code, ran.seen).toBe(0);
    expect(archive.received).toMatch(/^GET \/\.?\/?Packages HTTP\/1\.1\r\n/m);
  });

  test("a refused host gets nothing, and the person sees why", async () => {
    const ran = await update("attacker", `deb [trusted=yes] https://attacker.example:${attacker.port}/ ./`);
    // Of an archive that cannot be had apt-get warns, no more.
    expect(ran.stderr).toMatch(/403 Forbidden \(sallyport: host-not-allowed\)/);
    expect(attacker.connections).toBe(0);
  });
});

const configuration = (root: string, allow: string): string => `
upstream:
  trust: [system, bundled, ${root}]
  hosts: { archive.test: [127.0.0.1], attacker.example: [127.0.0.1] }
sandboxes: [{ id: agent-1, secret: a-secret-of-the-agent, policy: default }]
policies:
  default:
    allow: ${allow.replace("[", "[{ host: archive.test, networks: [127.0.0.0/8] }, ")}
`;

const LIST = "Package: nothing\nVersion: 1\nArchitecture: all\nFilename: ./nothing.deb\nSize: 1\n\n";
const PACKAGES = `HTTP/1.1 200 OK\r\nContent-Length: ${LIST.length}\r\n\r\n${LIST}`;
const NOT_FOUND = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
