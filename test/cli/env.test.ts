import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

import { VARIABLES } from "../../src/environment/variables.ts";
import { directory, sallyport, sallyportHere, startSallyport } from "./support.ts";

const TWO = `listen: [127.0.0.1:4128, 127.0.0.1:5128]
policies: { default: {} }
sandboxes:
  - { id: ci-runner, secret: "\${TOKEN}", policy: default }
`;

describe("env", () => {
  const cwd = directory();
  const ended = sallyport(["env"], { cwd });
  const names = VARIABLES.flatMap((variable) => variable.names);

  test("makes the CA and the files, with the system's roots in the bundle", () => {
    expect({ status: ended.status, stderr: ended.stderr }).toEqual({ status: 0, stderr: "" });
    const ca = readFileSync(join(cwd, "sandbox/ca.pem"), "utf8");
    expect(ca).toBe(readFileSync(join(cwd, "certs/ca.pem"), "utf8"));
    expect(statSync(join(cwd, "certs/ca.key")).mode & 0o777).toBe(0o600);
    expect(statSync(join(cwd, "sandbox")).mode & 0o777).toBe(0o755);
    const bundle = readFileSync(join(cwd, "sandbox/bundle.pem"), "utf8");
    expect(bundle).toContain(ca.trim());
    expect(bundle.match(/BEGIN CERTIFICATE/g)?.length).toBeGreaterThan(50);
  });

  test("a shell that evaluates it has every variable, and openssl and git read what they name", () => {
    const out = execFileSync("sh", ["-c", `eval "$ENVIRONMENT"; env`], {
      env: { PATH: process.env["PATH"], ENVIRONMENT: ended.stdout },
      encoding: "utf8",
    });
    const env = Object.fromEntries(out.split("\n").map((line) => line.split(/=(.*)/s).slice(0, 2))) as Record<
      string,
      string
    >;
    for (const name of names) expect(env[name], name).toBeTruthy();
    expect(env["https_proxy"]).toBe("http://127.0.0.1:3128");
    for (const name of ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "WGETRC", "APT_CONFIG"]) {
      expect(existsSync(env[name] ?? ""), name).toBe(true);
    }
  });

  test("asked again, it keeps the CA", () => {
    expect(sallyport(["env"], { cwd }).stdout).toBe(ended.stdout);
    expect(sallyport(["ca", "export"], { cwd }).stdout).toBe(
      readFileSync(join(cwd, "sandbox/ca.pem"), "utf8"),
    );
  });

  test("held, the files are there until it is told to end, and nothing else goes with them", async () => {
    const out = join(directory(), "held");
    mkdirSync(out);
    writeFileSync(join(out, "mine"), "");
    const holding = startSallyport(["env", "--out", out, "--hold"], { cwd });
    await once(holding.stdout, "data");
    expect(readdirSync(out).toSorted()).toEqual([
      "apt.conf",
      "bundle.pem",
      "ca.pem",
      "mine",
      "truststore.p12",
      "wgetrc",
    ]);
    holding.kill("SIGTERM");
    expect(await once(holding, "exit")).toEqual([0, null]);
    expect(readdirSync(out)).toEqual(["mine"]);
  });

  test("works where only the certificate is there", async () => {
    const at = directory();
    mkdirSync(join(at, "certs"));
    writeFileSync(join(at, "certs/ca.pem"), readFileSync(join(cwd, "certs/ca.pem")));
    expect((await sallyportHere(["env"], { cwd: at })).status).toBe(0);
  });

  test.runIf(existsSync("/usr/bin/keytool"))("keytool reads the trust store", () => {
    const args = [
      "-list",
      "-keystore",
      join(cwd, "sandbox/truststore.p12"),
      "-storetype",
      "PKCS12",
      "-storepass",
      "changeit",
    ];
    const out = execFileSync("keytool", args, { encoding: "utf8" });
    const pems = readFileSync(join(cwd, "sandbox/bundle.pem"), "utf8").match(/BEGIN CERTIFICATE/g)?.length;
    expect(out).toContain(`Your keystore contains ${pems} entries`);
    expect(out.match(/trustedCertEntry/g)?.length).toBe(pems);
  });

  test("a proxy that is reached by TLS, and a sandbox that has a certificate for it", async () => {
    const at = directory(`policies: { default: {} }
tls: { names: [proxy.test] }
sandboxes: [{ id: certified, certificate: "DNS:c.test", policy: default }]
`);
    const args = ["env", "--format", "json", "--proxy", "https://proxy.test:3128", "--sandbox", "certified"];
    const { status, stdout, stderr } = await sallyportHere(args, { cwd: at });
    expect(status).toBe(0);
    expect((JSON.parse(stdout) as Record<string, string>)["HTTPS_PROXY"]).toBe("https://proxy.test:3128");
    expect(stderr).toContain("sandbox certified has no secret: it is known by its client certificate.");
    expect((await sallyportHere(["env", "--proxy", "socks5h://proxy.test:3128"], { cwd: at })).status).toBe(
      2,
    );
  });

  test("docker: the mount, the paths inside, and the host's name", async () => {
    const flags = await sallyportHere(["env", "--format", "docker", "--proxy", "http://10.0.0.2:3128"], {
      cwd,
    });
    expect(flags.status).toBe(0);
    expect(flags.stderr).toBe("");
    expect(flags.stdout).toContain(
      `--mount 'type=bind,source=${cwd}/sandbox-mount,target=/etc/sallyport,readonly' \\\n`,
    );
    expect(flags.stdout).toContain("-e 'SSL_CERT_FILE=/etc/sallyport/bundle.pem' \\\n");
    expect(flags.stdout).not.toContain("--add-host");
    expect(readFileSync(join(cwd, "sandbox-mount/apt.conf"), "utf8")).toContain(
      '"/etc/sallyport/bundle.pem"',
    );
    const host = await sallyportHere(["env", "--format", "docker"], { cwd });
    expect(host.stdout).toContain("--add-host 'host.docker.internal:host-gateway'");
    expect(host.stdout).toContain("-e 'https_proxy=http://host.docker.internal:3128'");
    expect(host.stderr).toContain("containers cannot reach 127.0.0.1");
  });

  test("--mount-point and --out in any format", async () => {
    const args = ["env", "--format", "json", "--mount-point", "/opt/sp", "--out", "else where"];
    const env = JSON.parse((await sallyportHere(args, { cwd })).stdout) as Record<string, string>;
    expect(env["CURL_CA_BUNDLE"]).toBe("/opt/sp/bundle.pem");
    expect(existsSync(join(cwd, "else where/bundle.pem"))).toBe(true);
  });
});

describe("env with a file", () => {
  const cwd = directory(TWO);
  const env = { TOKEN: "p@ss/w:rd secret" };

  test("--sandbox puts credentials into the URL of the first listener", async () => {
    const { status, stdout, stderr } = await sallyportHere(
      ["env", "--format", "json", "--sandbox", "ci-runner"],
      {
        cwd,
        env,
      },
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect((JSON.parse(stdout) as Record<string, string>)["HTTPS_PROXY"]).toBe(
      "http://ci-runner:p%40ss%2Fw%3Ard%20secret@127.0.0.1:4128",
    );
  });

  test("without --sandbox it says that 407 is to come", async () => {
    const { status, stderr } = await sallyportHere(["env"], { cwd, env });
    expect(status).toBe(0);
    expect(stderr).toContain("407");
  });

  test.each([
    [["--sandbox", "ci"], 1, 'sallyport: there is no sandbox "ci": the file names ci-runner.\n'],
    [["--proxy", "127.0.0.1:3128"], 2, "sallyport: --proxy is a URL such as http://"],
    [["--proxy", "socks5://127.0.0.1:3128"], 2, "sallyport: --proxy is a URL such as http://"],
    [["--proxy", "http://p/path"], 2, "sallyport: --proxy is a URL such as http://"],
    [
      ["--mount-point", "etc"],
      2,
      "sallyport: --mount-point is a path inside the sandbox and starts with /: etc\n",
    ],
    [["--out", 'a"b'], 2, "Choose another directory.\n"],
  ])("%j is refused", async (args, status, message) => {
    const ended = await sallyportHere(["env", ...args], { cwd, env });
    expect({ status: ended.status, stdout: ended.stdout }).toEqual({ status, stdout: "" });
    expect(ended.stderr).toContain(message);
  });

  test.each([
    ["0.0.0.0:3128", "http://127.0.0.1:3128"],
    ['"[::]:3128"', "http://[::1]:3128"],
    ['"[::1]:3128"', "http://[::1]:3128"],
    ["localhost:3128", "http://localhost:3128"],
    ["10.1.2.3:80", "http://10.1.2.3:80"],
  ])("listen %s is reached at %s", async (listen, url) => {
    const at = directory(`listen: ${listen}\nanonymous: default\n`);
    const { stdout } = await sallyportHere(["env", "--format", "json"], { cwd: at });
    expect((JSON.parse(stdout) as Record<string, string>)["HTTP_PROXY"]).toBe(url);
  });

  test("a port that is chosen later must be said", async () => {
    const at = directory("listen: 127.0.0.1:0\nanonymous: default\n");
    expect((await sallyportHere(["env"], { cwd: at })).status).toBe(2);
    expect((await sallyportHere(["env", "--proxy", "http://127.0.0.1:9"], { cwd: at })).status).toBe(0);
  });
});

describe("ca", () => {
  const cwd = directory();

  test("there is none before the first start, and showing makes none", async () => {
    const { status, stderr } = await sallyportHere(["ca", "show"], { cwd });
    expect(status).toBe(1);
    expect(stderr).toContain("`sallyport run` and `sallyport env` make one");
    expect(existsSync(join(cwd, "certs"))).toBe(false);
  });

  test.each(["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])(
    "%j in its place is refused, by what reads it and by what would hand it out",
    async (text) => {
      const at = directory();
      mkdirSync(join(at, "certs"));
      writeFileSync(join(at, "certs/ca.pem"), text);
      for (const args of [["ca", "show"], ["ca", "export"], ["env"]]) {
        const { status, stdout, stderr } = await sallyportHere(args, { cwd: at });
        expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
        expect(stderr).toBe(
          `sallyport: ${at}/certs/ca.pem holds no CA certificate. Restore it, or move it and its key away to have a new CA made.\n`,
        );
      }
    },
  );

  test("show, export and rotate", async () => {
    await sallyportHere(["env"], { cwd });
    const shown = JSON.parse((await sallyportHere(["ca", "show", "--json"], { cwd })).stdout) as Record<
      string,
      string
    >;
    const pem = (await sallyportHere(["ca", "export"], { cwd })).stdout;
    expect(shown["sha256"]).toBe(new X509Certificate(pem).fingerprint256);
    expect((await sallyportHere(["ca", "show"], { cwd })).stdout).toContain(shown["sha256"]);

    expect((await sallyportHere(["ca", "rotate"], { cwd })).status).toBe(2);
    expect((await sallyportHere(["ca", "export"], { cwd })).stdout).toBe(pem);

    const rotated = await sallyportHere(["ca", "rotate", "--yes"], { cwd });
    expect(rotated.status).toBe(0);
    const after = (await sallyportHere(["ca", "export"], { cwd })).stdout;
    expect(after).not.toBe(pem);
    expect(rotated.stdout).toContain(new X509Certificate(after).fingerprint256);
  });

  test.each(["pem", "der", "bundle", "p12"])("export --format %s --out", async (format) => {
    const { status, stdout } = await sallyportHere(
      ["ca", "export", "--format", format, "--out", `ca.${format}`],
      {
        cwd,
      },
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
    const bytes = readFileSync(join(cwd, `ca.${format}`));
    if (format !== "p12") expect(new X509Certificate(bytes).ca).toBe(true);
    expect(bytes.toString("latin1")).not.toContain("PRIVATE KEY");
  });
});

describe("presets", () => {
  const cwd = directory();

  test("list names the shipped ones", async () => {
    const rows = JSON.parse((await sallyportHere(["presets", "list", "--json"], { cwd })).stdout) as {
      name: string;
      hosts: string[];
    }[];
    const hosts = Object.fromEntries(rows.map(({ name, hosts }) => [name, hosts.length]));
    expect(hosts).toMatchObject({ none: 0, "common-dependencies": 71, all: 0 });
    expect((await sallyportHere(["presets", "list"], { cwd })).stdout).toMatch(
      /^common-dependencies +71 {2}\S/m,
    );
  });

  test("show prints every pattern, and what is near an unknown name", async () => {
    const { stdout } = await sallyportHere(["presets", "show", "npm"], { cwd });
    expect(stdout).toMatch(/^\*\*\.npmjs\.org$/m);
    const { status, stderr } = await sallyportHere(["presets", "show", "nmp"], { cwd });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr:
        'sallyport: unknown preset "nmp" (did you mean "npm"?). `sallyport presets list` names them all.\n',
    });
  });
});
