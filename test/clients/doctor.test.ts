// The doctor in a sandbox of a network namespace, with the clients of this machine, and an outside of its own behind the wall: another
// namespace that has the addresses which are tried. A healthy sandbox passes; each fault is found, and its fix printed.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { doctorScript } from "../../src/environment/doctor.ts";
import { findProgram } from "../support/programs.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { loadRules, type Namespace, openNamespace } from "./namespace.ts";
import { describeWith, findPython, type Ran } from "./sandbox.ts";
import { disposeAll, temporary } from "./suite.ts";

const SECRET = "a-secret-that-nobody-reads";
const LAUNCHER = join(import.meta.dirname, "../../bin/sallyport.js");
const NEEDS = ["root", "namespaces", "ip", "dash", "busybox", "curl", "wget", "git", "python3", "bash"];
const CLIENTS = ["apt", "curl", "git", "go", "java", "node", "npm", "python3", "wget"];

describeWith("the doctor", NEEDS, () => {
  const open: AsyncDisposable[] = [];
  let sandbox: Namespace;
  let outside: Outside;
  let proxy: RunningSallyport;
  let variables: Record<string, string>;
  let home: string;

  beforeAll(async () => {
    const files = await temporary("sallyport-doctor-");
    open.push(files);
    home = files.path;
    execFileSync("chmod", ["755", home]);
    sandbox = await openNamespace({ home, routed: false, variables: {} });
    open.push(sandbox);
    outside = await openOutside(sandbox);
    open.push(outside);
    proxy = await runSallyport(
      `anonymous: default\nsandboxes: [{ id: one, secret: ${SECRET}, policy: default }]\npolicies: { default: { preset: none } }\n`,
      JSON.stringify([`${sandbox.gateway}:0`]),
    );
    open.push(proxy);
    variables = environmentOf(proxy, `http://${sandbox.gateway}:${proxy.port}`, home);
    await writeFile(join(home, "doctor"), doctorScript());
    await tools(join(home, "bin"));
    await mkdir(join(home, "applets"));
    execFileSync("busybox", ["--install", "-s", join(home, "applets")]);
  }, 60_000);
  afterAll(() => disposeAll(open));

  /** With few clients, which is quick. */
  const consult = (changes: Record<string, string | undefined> = {}, shell = ["dash"]): Promise<Ran> => {
    const chosen = Object.entries({ ...variables, PATH: join(home, "bin"), ...changes });
    const set = chosen.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
    return sandbox.run(["env", "-i", ...set, ...shell, join(home, "doctor")]);
  };

  test("a healthy sandbox passes, with every client of this machine", async () => {
    const started = performance.now();
    const ran = await consult({ PATH: process.env["PATH"] });
    expect(ran.seen).not.toMatch(/^(FIX|LEAK)/m);
    for (const client of CLIENTS.filter((name) => name !== "apt" || findProgram("apt-get") !== undefined))
      expect(ran.stdout).toMatch(
        new RegExp(`^ok    ${client}: reaches the proxy, trusts its CA, shows why it is refused$`, "m"),
      );
    expect(ran.stdout).toMatch(/^ok {4}UDP, as QUIC: leads nowhere/m);
    expect(ran.stdout).toContain(`?     the host (${sandbox.gateway}): answers, so what it listens for`);
    expect(ran.code).toBe(0);
    expect(performance.now() - started).toBeLessThan(60_000);
  });

  test.each([[["dash"]], [["busybox", "ash"]], [["bash"]]])("by %j, with few clients", async (shell) => {
    const ran = await consult(
      {},
      shell.map((program) => findProgram(program) ?? program),
    );
    expect(ran.seen).not.toMatch(/^(FIX|LEAK)/m);
    expect(ran.seen).toContain("ok    git: ");
    expect(ran.code).toBe(0);
  });

  test("with BusyBox and nothing else", async () => {
    const ran = await consult({ PATH: join(home, "applets") }, [findProgram("busybox") ?? "", "ash"]);
    // Debian's falls over on some machines, whatever it is asked.
    expect(ran.stdout).toMatch(/^(ok {4}wget: reaches the proxy|\? {5}wget: it is too old or not whole)/m);
    expect(ran.stdout).toMatch(/^\? {5}wget: that of BusyBox verifies no certificates/m);
    expect(ran.stdout).toMatch(/^ok {4}direct TCP: leads nowhere/m);
    expect(ran.code).toBe(0);
  });

  test("as the proxy serves it, by a pipe", async () => {
    const piped = "curl -fsS http://sallyport.internal/doctor | sh";
    const chosen = Object.entries({ ...variables, PATH: join(home, "bin") });
    const ran = await sandbox.run(["env", "-i", ...chosen.map(([n, v]) => `${n}=${v}`), "dash", "-c", piped]);
    expect(ran.seen).toContain("All is well, as far as could be tested.");
  });

  describe("finds, and says how to mend", () => {
    const unset = (...names: string[]) => Object.fromEntries(names.map((name) => [name, undefined]));
    const PROXIES = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    const YARN = ["YARN_HTTP_PROXY", "YARN_HTTPS_PROXY"];
    test.each<[string, Record<string, string | undefined>, readonly string[]]>([
      [
        "no CA, for one client",
        unset("GIT_SSL_CAINFO"),
        ["FIX   git: does not trust the CA of the proxy", "export GIT_SSL_CAINFO=/etc/sallyport/bundle.pem"],
      ],
      [
        "no CA at all",
        unset("CURL_CA_BUNDLE", "SSL_CERT_FILE", "GIT_SSL_CAINFO", "WGETRC"),
        [
          "FIX   curl: does not trust the CA of the proxy",
          "export CURL_CA_BUNDLE=/etc/sallyport/bundle.pem",
          "FIX   wget: does not trust the CA of the proxy",
          "export WGETRC=/etc/sallyport/wgetrc",
          "curl -fsS http://sallyport.internal/ca.pem -o /etc/sallyport/ca.pem",
        ],
      ],
      [
        "a CA file that is not there",
        { CURL_CA_BUNDLE: "/nowhere.pem" },
        ["FIX   CURL_CA_BUNDLE names a file that cannot be read"],
      ],
      [
        "no proxy variable",
        unset(...PROXIES, ...YARN),
        [
          "FIX   curl: does not use the proxy",
          "FIX   git: does not use the proxy",
          "export HTTPS_PROXY=http://proxy.example:3128",
          "no client here could be tested, or none works",
        ],
      ],
      [
        "the lower case missing",
        unset("http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"),
        [
          "HTTP_PROXY is set and http_proxy is not",
          'export http_proxy="$HTTP_PROXY"',
          "FIX   curl.http: does not use the proxy",
        ],
      ],
      [
        "a NO_PROXY that is too wide",
        { NO_PROXY: "localhost,*", no_proxy: "localhost,.internal" },
        [
          "NO_PROXY lets this past the proxy: *\n",
          "NO_PROXY lets this past the proxy: .internal\n",
          "export NO_PROXY=localhost,127.0.0.1,::1",
        ],
      ],
    ])("%s", async (_fault, changes, said) => {
      const ran = await consult(changes);
      for (const each of said) expect(ran.stdout).toContain(each);
      expect(ran.seen).not.toMatch(/^LEAK/m);
      expect(ran.seen).not.toContain(SECRET);
      expect(ran.code).toBe(1);
    });

    test("wrong credentials, and shows none", async () => {
      const wrong = `http://one:another-secret-of-a-kind@${sandbox.gateway}:${proxy.port}`;
      const ran = await consult(Object.fromEntries(PROXIES.map((name) => [name, wrong])));
      expect(ran.stdout).toContain("FIX   curl: the proxy does not take its credentials");
      expect(ran.seen).not.toContain("another-secret");
      expect(ran.code).toBe(1);
    });
  });

  test.each<[string, readonly string[], readonly string[], string?]>([
    [
      "a direct route",
      ["1.1.1.1"],
      [
        "direct TCP: is open (tcp to 1.1.1.1, port 443)",
        "DNS, asked directly: is open (udp to 1.1.1.1, port 53)",
        "UDP, as QUIC: is open (udp to 1.1.1.1, port 443)",
      ],
    ],
    ["UDP alone", ["8.8.8.8"], ["UDP, as QUIC: is open (udp to 8.8.8.8, port 443)"], "tcp"],
    [
      "IPv6",
      ["2606:4700:4700::1111"],
      ["IPv6, TCP: is open (tcp to 2606:4700:4700::1111, port 443)", "IPv6, DNS: is open"],
    ],
    ["the metadata address", ["169.254.169.254"], ["the metadata address: is open"]],
  ])("a leak: %s", async (_leak, addresses, said, closed) => {
    await using _ = outside.reach(addresses, closed);
    const ran = await consult();
    for (const each of said) expect(ran.stdout).toContain(`LEAK  ${each}`);
    if (closed !== undefined) expect(ran.stdout).not.toContain("LEAK  direct TCP");
    expect(ran.stdout).toContain("-> a network with no route but to the proxy");
    expect(ran.code).toBe(2);
    const named = new Set([...ran.stdout.matchAll(/^LEAK .*\(\w+ to ([\w.:]+),/gm)].map(([, to]) => to));
    expect([...named]).toEqual(addresses);
  });

  test.each(["python3", "node", "nc"])("a leak, found by %s", async (means) => {
    const bin = join(home, `bin-${means}`);
    await tools(bin, [means]);
    await using _ = outside.reach(["1.1.1.1", "2606:4700:4700::1111"]);
    const ran = await consult({ PATH: bin });
    expect(ran.stdout).toContain("LEAK  direct TCP: is open (tcp to 1.1.1.1, port 443)");
    // BusyBox's has no UDP, as Debian builds it.
    if (means === "nc") expect(ran.stdout).toMatch(/^\? {5}UDP and DNS, asked directly/m);
    else {
      expect(ran.stdout).toContain("LEAK  DNS, asked directly: is open (udp to 1.1.1.1, port 53)");
      expect(ran.stdout).toContain("LEAK  UDP, as QUIC: is open (udp to 1.1.1.1, port 443)");
    }
    expect(ran.code).toBe(2);
    await rm(bin, { recursive: true });
  });

  test("a leak: names, by the resolver of the system", async () => {
    const file = `/etc/netns/${sandbox.name}/resolv.conf`;
    const before = await readFile(file, "utf8");
    await using _ = outside.reach(["8.8.8.8"]);
    await writeFile(file, "nameserver 8.8.8.8\n");
    try {
      const ran = await consult();
      expect(ran.stdout).toContain("LEAK  DNS, by the resolver of this system: names of the outside");
      expect(ran.code).toBe(2);
    } finally {
      await writeFile(file, before);
    }
  });
});

describeWith("sallyport exec -- sallyport doctor", ["namespaces", "curl", "git"], () => {
  test("finds no leak, and the clients well", async () => {
    await using files = await temporary("sallyport-doctor-");
    await writeFile(
      join(files.path, "sallyport.yaml"),
      "anonymous: default\npolicies: { default: { preset: none } }\n",
    );
    await tools(join(files.path, "bin"));
    const env = { PATH: process.env["PATH"], HOME: files.path };
    const inside = ["env", `PATH=${join(files.path, "bin")}`, process.execPath, LAUNCHER, "doctor"];
    const { stdout, status } = spawnSync(process.execPath, [LAUNCHER, "exec", "--quiet", "--", ...inside], {
      cwd: files.path,
      env,
      encoding: "utf8",
    });
    for (const each of [
      "curl: reaches",
      "git: reaches",
      "direct TCP: leads nowhere",
      "UDP, as QUIC: leads nowhere",
    ])
      expect(stdout).toContain(`ok    ${each}`);
    expect(stdout).not.toContain("LEAK");
    // As root apt changes its user, for which there is no other behind this wall.
    const mends = [...stdout.matchAll(/^FIX {3}(.*)$/gm)].map(([, what]) => what);
    expect(mends.filter((what) => what !== "apt: may not change its user here")).toEqual([]);
    expect(status).toBe(mends.length === 0 ? 0 : 1);
  });
});

describeWith("the doctor, where everything is redirected", [...NEEDS, "nft"], () => {
  test("knows Sallyport's own answers from a leak, and asks for no variable", async () => {
    await using files = await temporary("sallyport-doctor-");
    execFileSync("chmod", ["755", files.path]);
    await using sandbox = await openNamespace({ home: files.path, routed: true, variables: {} });
    const at = sandbox.gateway;
    await using proxy = await runSallyport(
      `anonymous: default
policies: { default: { preset: none } }
transparent: [{ listen: "${at}:0", port: 443 }, { listen: "${at}:0", port: 80 }]
dns: { listen: "${at}:0", answer: [${at}] }
`,
    );
    const { transparent, dns } = proxy.sallyport;
    await using _ = loadRules(
      `table ip led {
  chain out {
    type nat hook output priority -100;
    tcp dport 443 dnat to ${at}:${transparent[0]?.port}
    tcp dport 80 dnat to ${at}:${transparent[1]?.port}
    udp dport 53 dnat to ${at}:${dns[0]?.port}
  }
  chain rest {
    type filter hook output priority 0; policy drop;
    oifname lo accept
    ip daddr ${at} accept
  }
}
`,
      sandbox.name,
    );
    const { SSL_CERT_FILE, CURL_CA_BUNDLE, GIT_SSL_CAINFO, WGETRC, APT_CONFIG } = environmentOf(
      proxy,
      "http://192.0.2.9:1",
      files.path,
      "",
    );
    await tools(join(files.path, "bin"));
    const trust = { SSL_CERT_FILE, CURL_CA_BUNDLE, GIT_SSL_CAINFO, WGETRC, APT_CONFIG };
    const set = Object.entries({ ...trust, HOME: files.path, PATH: join(files.path, "bin") });
    const ran = await sandbox.run([
      "env",
      "-i",
      ...set.map((pair) => pair.join("=")),
      "dash",
      "-c",
      doctorScript(),
    ]);
    expect(ran.seen).not.toMatch(/^(FIX|LEAK)/m);
    for (const each of [
      "curl: reaches",
      "git: reaches",
      "direct TCP: the proxy itself",
      "DNS, asked directly: the proxy itself",
    ])
      expect(ran.stdout).toContain(`ok    ${each}`);
    expect(ran.stdout).toContain("ok    DNS, by the resolver of this system: knows no name of the outside");
    expect(ran.code).toBe(0);
  });
});

type Outside = AsyncDisposable & {
  /** Gives the sandbox a route there; `closed`: but not for this protocol. */
  reach(addresses: readonly string[], closed?: string): AsyncDisposable;
};

/** A namespace behind the sandbox's, with the addresses that are tried, and somebody at each. */
async function openOutside(sandbox: Namespace): Promise<Outside> {
  const name = `${sandbox.name}-out`;
  const device = "out0";
  const ip = (...args: string[]): void => void execFileSync("ip", args, { stdio: "pipe" });
  ip("netns", "add", name);
  const dispose = (): void => ip("netns", "del", name);
  try {
    ip("link", "add", device, "netns", sandbox.name, "type", "veth", "peer", "name", "eth0", "netns", name);
    const [v4, v6] = [
      ["192.0.2.1", "192.0.2.2"],
      ["fd00::1", "fd00::2"],
    ];
    for (const [at, where, dev] of [
      [0, sandbox.name, device],
      [1, name, "eth0"],
    ] as const) {
      ip("-n", where, "link", "set", "lo", "up");
      ip("-n", where, "link", "set", dev, "up");
      ip("-n", where, "addr", "add", `${v4?.[at]}/30`, "dev", dev);
      ip("-n", where, "-6", "addr", "add", `${v6?.[at]}/64`, "dev", dev, "nodad");
    }
    for (const address of TRIED) ip("-n", name, "addr", "add", address, "dev", "lo");
  } catch (error) {
    dispose();
    throw error;
  }
  const program = join(import.meta.dirname, "programs/outside.py");
  const child = spawn("ip", ["netns", "exec", name, findPython(), program, ...TRIED], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve, reject) => {
    child.stdout.once("data", resolve);
    child.once("exit", () => reject(new Error("there is no outside")));
  });
  const via = (address: string): string => (address.includes(":") ? "fd00::2" : "192.0.2.2");
  const inSandbox = (command: string, ...args: string[]): void =>
    void execFileSync("ip", ["netns", "exec", sandbox.name, command, ...args], { stdio: "pipe" });
  return {
    reach(addresses, closed) {
      for (const address of addresses) ip("-n", sandbox.name, "route", "add", address, "via", via(address));
      if (closed !== undefined) {
        inSandbox("nft", "add", "table", "inet", "wall");
        inSandbox("nft", "add", "chain", "inet", "wall", "out", "{ type filter hook output priority 0; }");
        inSandbox(
          "nft",
          "add",
          "rule",
          "inet",
          "wall",
          "out",
          "oifname",
          device,
          "meta",
          "l4proto",
          closed,
          "reject",
        );
      }
      return {
        async [Symbol.asyncDispose]() {
          for (const address of addresses) ip("-n", sandbox.name, "route", "del", address);
          if (closed !== undefined) inSandbox("nft", "delete", "table", "inet", "wall");
        },
      };
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      dispose();
    },
  };
}

function environmentOf(
  proxy: RunningSallyport,
  url: string,
  out: string,
  whose = "one",
): Record<string, string> {
  const file = join(proxy.directory, "sallyport.yaml");
  const args = ["env", "--format", "json", "--proxy", url, "--out", join(out, "trust")];
  if (whose !== "") args.push("--sandbox", whose);
  const printed = execFileSync(process.execPath, [LAUNCHER, ...args, "--config", file], { encoding: "utf8" });
  return { ...(JSON.parse(printed) as Record<string, string>), HOME: out };
}

/** A PATH of little. */
async function tools(directory: string, means: readonly string[] = ["bash"]): Promise<void> {
  await mkdir(directory);
  for (const name of [...SMALL.filter((name) => name !== "timeout" || means.includes("bash")), ...means]) {
    const busybox = name === "nc" || findProgram(name) === undefined;
    const found = name === "python3" ? findPython() : findProgram(busybox ? "busybox" : name);
    await symlink(found ?? name, join(directory, name));
  }
}

const SMALL =
  "cat cp curl cut dash dd env getent git grep head mkdir mktemp od printf rm sed sh sleep sort tail timeout tr wget".split(
    " ",
  );
const TRIED = ["1.1.1.1", "8.8.8.8", "169.254.169.254", "2606:4700:4700::1111"];
