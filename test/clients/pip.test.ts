// pip, which is to say Python requests, against an index of ours.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { describeWith, findPython, openSandbox, type Ran, type Sandbox } from "./sandbox.ts";
import { completed, decisions, disposeAll, temporary } from "./suite.ts";

describeWith("pip", ["python3", "pip3"], () => {
  const open: AsyncDisposable[] = [];
  let index: RecordingOrigin;
  let attacker: RecordingOrigin;
  let proxy: RealSallyport;
  let sandbox: Sandbox;

  beforeAll(async () => {
    const ca = createCa();
    const files = await temporary("sallyport-pip-");
    open.push(files);
    const root = join(files.path, "root.pem");
    await writeFile(root, ca.cert);
    index = await recordingOrigin(ca.issue({ names: ["index.test"] }));
    index.behave(answerRequests(() => LINKS));
    attacker = await recordingOrigin(ca.issue({ names: ["attacker.example"] }));
    proxy = await startRealSallyport(configuration(root), "agent-1");
    open.push(index, attacker, proxy);
    sandbox = await openSandbox(proxy);
  });
  afterAll(() => disposeAll(open));

  function versions(from: string): Promise<Ran> {
    const options = ["--retries=1", "--disable-pip-version-check", "--index-url", from];
    return sandbox.run([findPython(), "-m", "pip", "index", "versions", "tiny", ...options]);
  }

  test("reads an index", async () => {
    const ran = await versions(`https://index.test:${index.port}/simple/`);
    expect(ran.stdout, ran.seen).toMatch(/Available versions: 1\.1, 1\.0/);
    const records = await proxy.recorded(completed("/simple/tiny/"));
    expect(decisions(records, "/simple/tiny/")).toMatchObject([{ verdict: "allow", sandbox: "agent-1" }]);
  });

  test("a refused host gets nothing, and the person sees why", async () => {
    const ran = await versions(`https://attacker.example:${attacker.port}/simple/`);
    expect(ran.code).not.toBe(0);
    expect(ran.seen).toMatch(/Tunnel connection failed: 403 Forbidden \(sallyport: host-not-allowed\)/);
    expect(attacker.connections).toBe(0);
  });
});

const configuration = (root: string): string => `
upstream:
  trust: [system, bundled, ${root}]
  hosts: { index.test: [127.0.0.1], attacker.example: [127.0.0.1] }
sandboxes: [{ id: agent-1, secret: a-secret-of-the-agent, policy: default }]
policies:
  default: { allow: [{ host: index.test, networks: [127.0.0.0/8] }] }
`;

const PAGE = ["1.0", "1.1"]
  .map((v) => `<a href="/tiny-${v}-py3-none-any.whl">tiny-${v}-py3-none-any.whl</a>`)
  .join("");
const LINKS = `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${PAGE.length}\r\n\r\n${PAGE}`;
