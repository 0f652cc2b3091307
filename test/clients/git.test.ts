// A real repository on a real server that would take a push from anybody: fetching passes, pushing does not.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { createCa } from "../support/pki.ts";
import { startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { gitServer, type GitServer } from "./git-server.ts";
import { describeWith, openSandbox, type Ran, type Sandbox } from "./sandbox.ts";
import { disposeAll, temporary } from "./suite.ts";

describeWith("git", ["git", "curl"], () => {
  const open: AsyncDisposable[] = [];
  let server: GitServer;
  let proxy: RealSallyport;
  let sandbox: Sandbox;
  let bare: string;
  let url: string;

  beforeAll(async () => {
    const ca = createCa();
    const files = await temporary("sallyport-git-");
    open.push(files);
    const root = join(files.path, "root.pem");
    await writeFile(root, ca.cert);
    bare = join(files.path, "shop.git");
    server = await gitServer(files.path, ca.issue({ names: ["git.test"] }));
    open.push(server);
    proxy = await startRealSallyport(configuration(root));
    open.push(proxy);
    sandbox = await openSandbox(proxy);
    url = `https://git.test:${server.port}/shop.git`;
    await git(["init", "-q", "--bare", "-b", "main", bare]);
    await git(["-C", bare, "config", "http.receivepack", "true"]);
    await git(["init", "-q", "-b", "main", "origin"]);
    for (const name of ["one", "two", "three"]) await commitAtOrigin(name);
  });
  afterAll(() => disposeAll(open));
  beforeEach(() => void server.requests.splice(0));

  /** Runs git and fails with what it said. */
  async function git(args: readonly string[], cwd = sandbox.home): Promise<string> {
    const ran = await tryGit(args, cwd);
    expect(ran.code, `git ${args.join(" ")}\n${ran.seen}`).toBe(0);
    return ran.stdout.trim();
  }

  function tryGit(args: readonly string[], cwd = sandbox.home): Promise<Ran> {
    const identity = ["-c", "user.name=A", "-c", "user.email=a@origin.test"];
    return sandbox.run(["git", ...identity, ...args], { cwd, variables: { GIT_TERMINAL_PROMPT: "0" } });
  }

  /** Beside the network, as somebody else's work on the server. */
  async function commitAtOrigin(name: string): Promise<void> {
    const directory = join(sandbox.home, "origin");
    await writeFile(join(directory, name), `${name}\n`.repeat(1000));
    await git(["add", "-A"], directory);
    await git(["commit", "-q", "-m", name], directory);
    await git(["push", "-q", bare, "main"], directory);
  }

  async function cloned(name: string, ...options: string[]): Promise<string> {
    await git(["clone", "-q", ...options, url, name]);
    return join(sandbox.home, name);
  }

  test("clones, whole and shallow, and fetches", async () => {
    const whole = await cloned("whole");
    expect(await git(["log", "--format=%s"], whole)).toBe("three\ntwo\none");
    const shallow = await cloned("shallow", "--depth", "1");
    expect(await git(["log", "--format=%s"], shallow)).toBe("three");
    await commitAtOrigin("four");
    await git(["pull", "-q"], whole);
    expect(await git(["log", "-1", "--format=%s"], whole)).toBe("four");
    await git(["fetch", "-q", "--unshallow"], shallow);
    expect(await git(["rev-list", "--count", "FETCH_HEAD"], shallow)).toBe("4");
    expect(new Set(server.requests.map(({ line }) => line))).toEqual(
      new Set(["GET /shop.git/info/refs?service=git-upload-pack", "POST /shop.git/git-upload-pack"]),
    );
  });

  test("clones in the protocol's first version too", async () => {
    await cloned("first", "-c", "protocol.version=0");
    expect(server.requests.length).toBeGreaterThan(1);
  });

  test("a push is refused before anything is sent, readably", async () => {
    const clone = await cloned("pushes");
    await writeFile(join(clone, "stolen"), "secret\n");
    await git(["add", "-A"], clone);
    await git(["commit", "-q", "-m", "stolen"], clone);
    const before = await git(["rev-parse", "main"], bare);
    server.requests.splice(0);

    const ran = await tryGit(["push", "origin", "HEAD:refs/heads/stolen"], clone);

    expect(ran.code).not.toBe(0);
    expect(ran.stderr).toMatch(/remote: .*reason: {2}push-not-allowed/);
    expect(ran.stderr).toMatch(/The requested URL returned error: 403/);
    expect(server.requests).toEqual([]);
    expect(await git(["for-each-ref", "--format=%(objectname) %(refname)"], bare)).toBe(
      `${before} refs/heads/main`,
    );
    const refused = await proxy.recorded((all) => all.some(({ reason }) => reason === "push-not-allowed"));
    expect(refused).toContainEqual(
      expect.objectContaining({
        type: "decision",
        verdict: "deny",
        method: "GET",
        path: "/shop.git/info/refs",
      }),
    );
  });

  test("a push without its advertisement is refused as well", async () => {
    for (const path of ["git-receive-pack", "git-receive-pack?service=git-upload-pack", "GIT-RECEIVE-PACK"]) {
      const ran = await sandbox.run([
        "curl",
        "-sS",
        "-H",
        "Content-Type: application/x-git-receive-pack-request",
        "--data-binary",
        "0000",
        `${url}/${path}`,
      ]);
      expect(ran.stdout).toMatch(/reason: {2}push-not-allowed/);
    }
    expect(server.requests).toEqual([]);
  });

  test("the server takes a push from a sandbox that may write: only the policy stood between", async () => {
    const clone = await cloned("writes");
    await git(["commit", "-q", "--allow-empty", "-m", "allowed"], clone);
    const writer = `http://writer:${SECRET}@127.0.0.1:${proxy.port}`;
    const pushed = await sandbox.run(["git", "push", "-q", "origin", "HEAD:refs/heads/allowed"], {
      cwd: clone,
      variables: { HTTPS_PROXY: writer, https_proxy: writer },
    });
    expect(pushed.code, pushed.seen).toBe(0);
    expect(await git(["log", "-1", "--format=%s", "allowed"], bare)).toBe("allowed");
    expect(JSON.stringify(await proxy.records())).not.toContain(SECRET);
  });

  test("a host that is not allowed is refused", async () => {
    const ran = await tryGit(["clone", `https://elsewhere.test:${server.port}/shop.git`, "elsewhere"]);
    expect(ran.code).not.toBe(0);
    // libcurl keeps the status line of a refused CONNECT to itself.
    expect(ran.stderr).toMatch(/unable to access .*: CONNECT tunnel failed, response 403/);
    expect(server.requests).toEqual([]);
  });
});

const SECRET = "a-secret-of-the-writer";

const configuration = (root: string): string => `
upstream:
  trust: [system, bundled, ${root}]
  hosts: { git.test: [127.0.0.1], elsewhere.test: [127.0.0.1] }
anonymous: reader
sandboxes: [{ id: writer, secret: ${SECRET}, policy: writer }]
policies:
  reader: { intents: [git-fetch], allow: [{ host: git.test, networks: [127.0.0.0/8] }] }
  writer: { methods: all, allow: [{ host: git.test, networks: [127.0.0.0/8] }] }
`;
