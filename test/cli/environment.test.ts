import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { formatDocker, formatEnvironment } from "../../src/cli/environment-format.ts";
import { proxyUrlWith, sandboxEnvironment } from "../../src/environment/variables.ts";
import { writeSandboxFiles } from "../../src/cli/sandbox-files.ts";

const material = {
  caPem: "CA\n",
  bundlePem: "ROOTS\nCA\n",
  truststore: new Uint8Array([1, 2, 3]),
  truststorePassword: "changeit",
};
const files = {
  ca: "/s/ca.pem",
  bundle: "/s/bundle.pem",
  truststore: "/s/truststore.p12",
  truststorePassword: "changeit",
  aptConf: "/s/apt.conf",
  wgetrc: "/s/wgetrc",
};

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "sallyport-env-"));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

describe("sandboxEnvironment", () => {
  test("sets the proxy in both cases and every CA variable to the file of its kind", () => {
    const env = sandboxEnvironment({ proxyUrl: "http://127.0.0.1:3128", files });
    const java =
      "-Djavax.net.ssl.trustStore=/s/truststore.p12 -Djavax.net.ssl.trustStoreType=PKCS12" +
      " -Djavax.net.ssl.trustStorePassword=changeit -Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128" +
      " -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128 -Dhttp.nonProxyHosts=localhost|127.*|[::1]";
    expect(env).toEqual({
      HTTP_PROXY: "http://127.0.0.1:3128",
      http_proxy: "http://127.0.0.1:3128",
      HTTPS_PROXY: "http://127.0.0.1:3128",
      https_proxy: "http://127.0.0.1:3128",
      ALL_PROXY: "http://127.0.0.1:3128",
      all_proxy: "http://127.0.0.1:3128",
      NO_PROXY: "localhost,127.0.0.1,::1",
      no_proxy: "localhost,127.0.0.1,::1",
      NODE_USE_ENV_PROXY: "1",
      YARN_HTTP_PROXY: "http://127.0.0.1:3128",
      YARN_HTTPS_PROXY: "http://127.0.0.1:3128",
      NODE_EXTRA_CA_CERTS: "/s/ca.pem",
      DENO_CERT: "/s/ca.pem",
      DENO_TLS_CA_STORE: "system,mozilla",
      SSL_CERT_FILE: "/s/bundle.pem",
      CURL_CA_BUNDLE: "/s/bundle.pem",
      GIT_SSL_CAINFO: "/s/bundle.pem",
      GIT_HTTP_PROXY_AUTHMETHOD: "basic",
      REQUESTS_CA_BUNDLE: "/s/bundle.pem",
      PIP_CERT: "/s/bundle.pem",
      HTTPLIB2_CA_CERTS: "/s/bundle.pem",
      npm_config_cafile: "/s/bundle.pem",
      CARGO_HTTP_CAINFO: "/s/bundle.pem",
      BUNDLE_SSL_CA_CERT: "/s/bundle.pem",
      AWS_CA_BUNDLE: "/s/bundle.pem",
      CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE: "/s/bundle.pem",
      GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: "/s/bundle.pem",
      HEX_CACERTS_PATH: "/s/bundle.pem",
      NIX_SSL_CERT_FILE: "/s/bundle.pem",
      WGETRC: "/s/wgetrc",
      APT_CONFIG: "/s/apt.conf",
      JAVA_TOOL_OPTIONS: java,
    });
  });

  test("names no key", () => {
    expect(JSON.stringify(sandboxEnvironment({ proxyUrl: "http://p:1", files }))).not.toContain(".key");
  });

  test.each([
    ["http://p.example:3128", "p.example", "3128"],
    ["http://p.example", "p.example", "80"],
    ["http://[::1]:3128", "::1", "3128"],
  ])("tells Java the host and port of %s", (proxyUrl, host, port) => {
    const options = sandboxEnvironment({ proxyUrl, files })["JAVA_TOOL_OPTIONS"];
    expect(options).toContain(` -Dhttps.proxyHost=${host} -Dhttps.proxyPort=${port} `);
    expect(options).not.toContain("proxyUser");
  });
});

test("credentials are percent-encoded in the URL, and plain for Java", () => {
  const secret = "p@ss:w/rd 'x' \"y\" $(z)!*";
  const proxyUrl = proxyUrlWith("http://127.0.0.1:3128", { id: "ci-runner", secret });
  expect(proxyUrl).toMatch(/^http:\/\/ci-runner:[\w.%~-]+@127\.0\.0\.1:3128$/);
  expect(decodeURIComponent(new URL(proxyUrl).password)).toBe(secret);
  const options = sandboxEnvironment({ proxyUrl, files })["JAVA_TOOL_OPTIONS"] ?? "";
  expect(javaProperties(options)["https.proxyPassword"]).toBe(secret);
});

describe("hostile characters in the directory", () => {
  const names = [
    "plain",
    "two words",
    "it's",
    "a'b''c",
    "$HOME `id` \\x",
    "semi;hash#per%41cent",
    "ünïcode,comma:colon",
    "!*?[x]{y}~",
  ];

  test.each(names)("%s: a shell reads back what was meant", (name) => {
    const env = environmentIn(name);
    expect(readBack(formatEnvironment("shell", env), env)).toEqual(env);
  });

  test.each(names)("%s: dotenv readers read back what was meant", (name) => {
    const env = environmentIn(name);
    expect(parseEnv(formatEnvironment("dotenv", env))).toEqual(env);
  });

  test.each(names)("%s: JSON", (name) => {
    const env = environmentIn(name);
    expect(JSON.parse(formatEnvironment("json", env))).toEqual(env);
  });

  test.each(names)("%s: docker gets one argument for each flag", (name) => {
    const env = environmentIn(name);
    const flags = formatDocker(env, {
      source: join(root, name),
      target: "/etc/sallyport",
      addHost: undefined,
    });
    const args = shellWords(flags);
    const source = `source=${join(root, name)}`;
    const field = name.includes(",") ? `"${source}"` : source;
    expect(args).toEqual([
      "--mount",
      `type=bind,${field},target=/etc/sallyport,readonly`,
      ...Object.entries(env).flatMap(([key, value]) => ["-e", `${key}=${value}`]),
    ]);
  });

  test.each(names)("%s: the JVM and wget read the paths as they are", (name) => {
    const env = environmentIn(name);
    const { truststore, bundle } = filesIn(name);
    expect(javaProperties(env["JAVA_TOOL_OPTIONS"] ?? "")["javax.net.ssl.trustStore"]).toBe(truststore);
    expect(readFileSync(env["WGETRC"] ?? "", "utf8")).toBe(`ca_certificate = ${bundle}\n`);
  });

  // Debian's and its kin's only.
  test.runIf(existsSync("/usr/bin/apt-config")).each(names)("%s: apt reads the path as it is", (name) => {
    const env = environmentIn(name);
    const dump = execFileSync("apt-config", ["dump", "--format", "%v", "Acquire::https::CAInfo"], {
      env: { ...process.env, APT_CONFIG: env["APT_CONFIG"] },
      encoding: "utf8",
    });
    expect(dump).toBe(env["SSL_CERT_FILE"]);
  });

  test.each(['quo"te', "new\nline", "bell\u0007"])("%j is refused before anything is written", (name) => {
    const place = { directory: join(root, name), seenAs: join(root, name) };
    expect(() => writeSandboxFiles(place, material)).toThrow(/Choose another directory/);
    expect(() => statSync(place.directory)).toThrow(/ENOENT/);
  });
});

test("a dotenv value with too many kinds of quotes is refused by name", () => {
  expect(() => formatEnvironment("dotenv", { X: `'"\`` })).toThrow(/The value of X/);
});

test("the files are there for every user, and hold what they are named for", () => {
  const directory = join(root, "modes");
  const before = process.umask(0o077);
  const written = writeSandboxFiles({ directory, seenAs: "/etc/sallyport" }, material);
  process.umask(before);
  expect(statSync(directory).mode & 0o777).toBe(0o755);
  expect(statSync(join(directory, "bundle.pem")).mode & 0o777).toBe(0o644);
  expect(readFileSync(join(directory, "bundle.pem"), "utf8")).toBe("ROOTS\nCA\n");
  expect(readFileSync(join(directory, "apt.conf"), "utf8")).toBe(
    'Acquire::https::CAInfo "/etc/sallyport/bundle.pem";\n',
  );
  expect(written.bundle).toBe("/etc/sallyport/bundle.pem");
});

function filesIn(name: string): ReturnType<typeof writeSandboxFiles> {
  const directory = join(root, name);
  return writeSandboxFiles({ directory, seenAs: directory }, material);
}

function environmentIn(name: string): Record<string, string> {
  return sandboxEnvironment({ proxyUrl: "http://127.0.0.1:3128", files: filesIn(name) });
}

function readBack(script: string, expected: Record<string, string>): Record<string, string> {
  const program = `eval "$SCRIPT"\nfor name; do eval "printf '%s\\0%s\\0' \\"\\$name\\" \\"\\$$name\\""; done`;
  const out = execFileSync("sh", ["-c", program, "sh", ...Object.keys(expected)], {
    env: { SCRIPT: script },
    encoding: "utf8",
  });
  const parts = out.split("\0");
  return Object.fromEntries(
    Array.from({ length: (parts.length - 1) / 2 }, (_, i) => [parts[2 * i], parts[2 * i + 1]]),
  );
}

function shellWords(text: string): string[] {
  const out = execFileSync("sh", ["-c", `eval "set -- $TEXT"; printf '%s\\0' "$@"`], {
    env: { TEXT: text },
    encoding: "utf8",
  });
  return out.split("\0").slice(0, -1);
}

/** The options as the JVM splits them (HotSpot's parse_options_buffer). */
function javaProperties(options: string): Record<string, string> {
  const words = options.match(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g) ?? [];
  return Object.fromEntries(
    words.map((word) => {
      const plain = word.replace(
        /'([^']*)'|"([^"]*)"/g,
        (_all, single?: string, double?: string) => single ?? double ?? "",
      );
      const [name = "", ...value] = plain.replace(/^-D/, "").split("=");
      return [name, value.join("=")];
    }),
  );
}
