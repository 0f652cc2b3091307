import { join } from "node:path";
import { describe, expect, test } from "vitest";

import { readAsked } from "../../src/cli/explain.ts";
import { directory, sallyport, sallyportHere } from "./support.ts";

const YAML = `anonymous: default
upstream: { hosts: { static.example: [10.9.8.7] } }
policies:
  default:
    methods: read-only
    intents: [git-fetch]
    allow:
      - a.example
      - { host: git.example, reason: our own }
      - { host: api.example, methods: [POST], paths: [/hooks/*] }
      - { host: corp.example, networks: [10.0.0.0/8] }
      - static.example
      - bücher.example
      - { host: pinned.example, methods: all }
      - 198.51.100.7
    deny:
      - { host: bad.a.example, reason: anyone can upload there }
      - { host: a.example, paths: [/private/**] }
    splice: [pinned.example]
    tcp: [{ host: db.example, ports: [5432] }]
  watched: { mode: report-only }
  asking: { ask: wait }
  open: { preset: all, methods: all }
sandboxes:
  - { id: ci, secret: "a secret of some length", policy: { setup: open, agent: watched }, phase: setup }
`;
const cwd = directory(YAML);

type Report = {
  readonly verdict: string;
  readonly reason: string | null;
  readonly policy: string;
  readonly stages: { readonly stage: string; readonly verdict: string }[];
  readonly flips: string[];
  readonly impossible: string | null;
};

async function explained(args: readonly string[]): Promise<Report & { status: number | null }> {
  const { status, stdout, stderr } = await sallyportHere(["explain", ...args, "--json"], { cwd });
  expect(stderr).toBe("");
  return { ...(JSON.parse(stdout) as Report), status };
}

describe("verdicts, reasons and what turns them", () => {
  test.each<[args: string, verdict: string, reason: string | null, flips: string[]]>([
    ["GET https://a.example/", "allow", null, []],
    ["GET http://a.example/", "allow", null, []],
    [
      "get https://a.example/",
      "deny",
      "method-not-allowed",
      ["allow: [{ host: a.example, methods: [get] }]"],
    ],
    [
      "POST https://a.example/",
      "deny",
      "method-not-allowed",
      ["allow: [{ host: a.example, methods: [POST] }]"],
    ],
    ["GET https://b.example/", "deny", "host-not-allowed", ["allow: [{ host: b.example }]"]],
    // One rule, for the request: it opens the tunnel too.
    [
      "POST https://b.example/x",
      "deny",
      "host-not-allowed",
      ["allow: [{ host: b.example, methods: [POST] }]"],
    ],
    ["GET https://bad.a.example/", "deny", "host-denied", []],
    ["GET https://a.example/private/x", "deny", "host-denied", []],
    ["POST https://api.example/hooks/1", "allow", null, []],
    [
      "GET wss://a.example/",
      "deny",
      "upgrade-not-allowed",
      ["allow: [{ host: a.example, methods: all, paths: [/] }]"],
    ],
    ["GET https://git.example/r.git/info/refs?service=git-upload-pack", "allow", null, []],
    ["POST https://git.example/r.git/git-upload-pack", "allow", null, []],
    [
      "GET https://git.example/r.git/info/refs?service=git-receive-pack",
      "deny",
      "push-not-allowed",
      expect.any(Array),
    ],
    ["GET https://corp.example/ --address 10.1.2.3", "allow", null, []],
    ["GET https://a.example/ --address 203.0.113.9", "deny", "address-reserved", expect.any(Array)],
    [
      "GET https://a.example/ --address 10.1.2.3",
      "deny",
      "address-private",
      ["allow: [{ host: a.example, networks: [10.1.2.3/32] }]"],
    ],
    ["GET https://a.example/ --address 10.1.2.3 --address 8.8.8.8", "allow", null, []],
    [
      "GET https://static.example/",
      "deny",
      "address-private",
      ["allow: [{ host: static.example, networks: [10.9.8.7/32] }]"],
    ],
    ["GET https://127.0.0.1/", "deny", "address-literal", ["allow: [{ host: 127.0.0.1 }]"]],
    ["GET https://a.example:3128/ --address 127.0.0.1", "deny", "address-own", []],
    ["PUT https://pinned.example/", "allow", null, []],
    ["GET https://bücher.example/", "allow", null, []],
    ["GET https://A.Example./#part", "allow", null, []],
    ["CONNECT a.example:443", "allow", null, []],
    ["CONNECT b.example:443", "deny", "host-not-allowed", ["allow: [{ host: b.example }]"]],
  ])("%s: %s %s", async (args, verdict, reason, flips) => {
    const report = await explained(args.split(" "));
    expect(report).toMatchObject({ verdict, reason, flips, status: verdict === "deny" ? 3 : 0 });
  });

  test("a spliced host's requests are not judged", async () => {
    const { stages } = await explained(["DELETE", "https://pinned.example/"]);
    expect(stages.map(({ stage }) => stage)).toEqual(["connect", "client-hello"]);
  });

  test("a raw tunnel has no requests to judge", async () => {
    for (const asked of [
      ["GET", "https://db.example:5432/"],
      ["CONNECT", "db.example:5432"],
    ]) {
      const { stages, verdict } = await explained([...asked, "--address", "192.0.2.9"]);
      expect(stages.map(({ stage }) => stage)).toEqual(["connect", "address"]);
      expect(verdict).toBe("deny");
    }
    const { stages } = await explained(["GET", "https://db.example/"]);
    expect(stages.map(({ stage }) => stage)).toEqual(["connect"]);
  });

  test("a requirement cannot be outranked either", async () => {
    const required = Buffer.from("deny: [static.example, 198.51.100.0/24]").toString("base64");
    const env = { SALLYPORT_REQUIREMENTS_BASE64: required };
    const cwd = directory("anonymous: default\npolicies: { default: { preset: all, allow: [a.example] } }\n");
    const args = ["explain", "GET", "https://static.example/"];
    const { status, stdout } = await sallyportHere(args, { cwd, env });
    expect(status).toBe(3);
    expect(stdout).toContain(
      "x requirement:deny (SALLYPORT_REQUIREMENTS_BASE64:1:8) · this host is always denied",
    );
    expect(stdout).toMatch(/\ndenied requirement: An administrator's requirements forbid this/);
    expect(stdout).toContain(
      "Nothing to add would allow it: no policy can exceed what SALLYPORT_REQUIREMENTS_BASE64:1:8 requires.",
    );
    const address = ["explain", "GET", "https://a.example/", "--address", "198.51.100.7"];
    const judged = await sallyportHere(address, { cwd, env });
    expect(judged.status).toBe(3);
    expect(judged.stdout).toContain(
      "x requirement:deny (SALLYPORT_REQUIREMENTS_BASE64:1:24) · 198.51.100.7: requirement",
    );
    const fine = await sallyportHere(["explain", "GET", "https://a.example/"], { cwd, env });
    expect(fine.stdout).toContain("- requirement · nothing required forbids it");
  });

  test("a deny rule cannot be outranked, and it says so", async () => {
    const { impossible } = await explained(["GET", "https://bad.a.example/"]);
    expect(impossible).toMatch(
      /^no rule outranks a deny rule: change or remove deny\[0\] \(sallyport\.yaml:\d+:\d+\)$/,
    );
  });
});

describe("whose policy", () => {
  test.each<[args: string[], policy: string, verdict: string]>([
    [[], "default", "deny"],
    [["--sandbox", "ci"], "open", "allow"],
    [["--sandbox", "ci", "--phase", "agent"], "watched", "report"],
    [["--policy", "open"], "open", "allow"],
  ])("%j", async (args, policy, verdict) => {
    const report = await explained(["POST", "https://b.example/", ...args]);
    expect(report).toMatchObject({ policy, verdict, status: verdict === "deny" ? 3 : 0 });
  });

  test("without credentials, where those are needed", async () => {
    const at = directory("policies: { default: {} }\n");
    const { status, stderr } = await sallyportHere(["explain", "GET", "https://a.example/"], { cwd: at });
    expect(status).toBe(3);
    expect(stderr).toMatch(/^sallyport: credentials-missing: /);
  });

  test.each([
    [
      ["--sandbox", "nobody"],
      1,
      'there is no sandbox "nobody" in the file (it names ci), nor in a proxy that runs: the proxy cannot be asked',
    ],
    [["--policy", "nope"], 1, 'there is no policy "nope": the file names default, watched, asking, open.'],
    [["--phase", "agent"], 2, "add --sandbox ID"],
    [["--policy", "open", "--sandbox", "ci"], 2, "cannot be used with"],
    [["--address", "127.1"], 2, "It is an IP address"],
  ])("%j is refused", async (args, status, message) => {
    const ended = await sallyportHere(["explain", "GET", "https://a.example/", ...args], { cwd });
    expect({ status: ended.status, stdout: ended.stdout }).toEqual({ status, stdout: "" });
    expect(ended.stderr).toContain(message);
  });
});

describe("for people", () => {
  test.each([
    ["allowed", ["GET", "https://a.example/x?y"]],
    ["denied-default", ["POST", "https://attacker.example/collect"]],
    ["denied-push", ["POST", "https://git.example/acme/shop.git/git-receive-pack"]],
    ["denied-address", ["GET", "https://a.example/", "--address", "169.254.169.254"]],
    ["spliced", ["GET", "https://pinned.example/"]],
    ["report-only", ["GET", "https://b.example/", "--policy", "watched"]],
    ["asked", ["POST", "https://b.example/", "--policy", "asking", "--address", "93.184.215.14"]],
  ])("%s", async (name, args) => {
    const { stdout, stderr } = await sallyportHere(["explain", ...args], { cwd });
    expect(stderr).toBe("");
    await expect(stdout).toMatchFileSnapshot(join(import.meta.dirname, `../golden/cli/explain-${name}.txt`));
  });

  test("what is asked about is not allowed: 3", async () => {
    const args = ["explain", "GET", "https://b.example/", "--policy", "asking", "--json"];
    const { status, stdout } = await sallyportHere(args, { cwd });
    expect(status).toBe(3);
    expect(JSON.parse(stdout)).toMatchObject({
      verdict: "ask",
      reason: "host-not-allowed",
      stages: [
        { stage: "connect", verdict: "allow" },
        { stage: "client-hello", verdict: "allow" },
        { stage: "request", verdict: "ask" },
      ],
    });
  });

  test("a child denies with 3", () => {
    expect(sallyport(["explain", "POST", "https://attacker.example/collect"], { cwd }).status).toBe(3);
  });
});

test.each([
  ["GET", "a.example"],
  ["GET", "/path"],
  ["GET", "ftp://a.example/"],
  ["GET", "https://"],
  ["GET", "https://user@a.example/"],
  ["GET", "https://a.example:99999/"],
  ["GET", "https://0x7f.1/"],
  ["GET", "https://a.example/%zz"],
  ["CONNECT", "https://a.example/"],
  ["CONNECT", "a.example"],
])("%s %s cannot be read, and the proxy would answer 400", async (method, url) => {
  expect(readAsked(method, url)).toBeUndefined();
  const { status, stderr } = await sallyportHere(["explain", method, url], { cwd });
  expect(status).toBe(2);
  expect(stderr).toMatch(/From a sandbox the proxy answers 400\.\n$/);
});

test("a method that is none", async () => {
  expect((await sallyportHere(["explain", "G ET", "https://a.example/"], { cwd })).status).toBe(2);
});

describe("the way out, where the file names parent proxies", () => {
  const upstream = `upstream:
  parent: "http://agent:hunter2hunter2@proxy.corp.example:8080"
  routes:
    - { host: a.example, ports: [443], parent: direct }
    - { host: git.example, parent: { url: "https://agent:hunter2hunter2@[2001:db8::1]:8443", address: name } }
`;
  const parents = directory(YAML.replace(/^upstream: .*\n/m, upstream));
  test.each([
    ["https://a.example/", "straight", { parent: null, told: null }],
    [
      "http://a.example/",
      "through the parent proxy proxy.corp.example:8080, which is told the judged address",
      { parent: "proxy.corp.example:8080", told: "address" },
    ],
    [
      "https://git.example/",
      "through the parent proxy [2001:db8::1]:8443, which is told the name: where that leads is not judged",
      { parent: "[2001:db8::1]:8443", told: "name" },
    ],
  ])("%s goes %s", async (url, text, way) => {
    const plain = await sallyportHere(["explain", "GET", url], { cwd: parents });
    expect(plain.stdout).toContain(`\nway           ${text}`);
    const json = await sallyportHere(["explain", "GET", url, "--json"], { cwd: parents });
    expect(JSON.parse(json.stdout)).toMatchObject({ way });
    expect(`${JSON.stringify(plain)}${json.stdout}`).not.toContain("hunter2");
  });

  test("what is denied goes nowhere", async () => {
    const { stdout } = await sallyportHere(["explain", "GET", "https://other.example/"], { cwd: parents });
    expect(stdout).not.toMatch(/^way/m);
  });
});

describe("who it is", () => {
  const file = `listen: [127.0.0.1:3128, { address: "127.0.0.1:3129", sandbox: door }]
policies: { default: { preset: none } }
sandboxes:
  - { id: net, sources: [10.1.0.0/16], policy: default }
  - { id: door, policy: default }
`;
  const cwd = directory(file);
  test.each<[string[], number, RegExp]>([
    [["--source", "10.1.2.3"], 3, /identity {6}net · by the address that it comes from/],
    [["--listener", "127.0.0.1:3129"], 3, /identity {6}door · by its listener/],
    [["--sandbox", "net", "--source", "10.1.2.3"], 3, /identity {6}net · by its credentials/],
    [["--sandbox", "door", "--source", "10.1.2.3"], 3, /credentials-wrong: .*says net, .*says door/],
    [["--source", "10.2.0.0"], 3, /credentials-missing/],
    [["--listener", "127.0.0.1:1"], 1, /there is no listener/],
  ])("%j", async (told, status, says) => {
    const ended = await sallyportHere(["explain", "GET", "https://example.com/", ...told], { cwd });
    expect(ended.status).toBe(status);
    expect(`${ended.stdout}${ended.stderr}`).toMatch(says);
  });
});
