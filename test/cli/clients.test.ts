// What `sallyport env` prints is enough for real clients: each asks for a path that is refused inside the tunnel, so that to
// read the 403 it must have used the proxy, sent the credentials and trusted the leaf.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { directory, sallyport, startSallyport } from "./support.ts";

const YAML = `listen: 127.0.0.1:0
admin: false
log: { format: json }
upstream: { hosts: { a.example: [127.0.0.1] } }
policies: { default: { allow: [{ host: a.example, paths: [/none] }] } }
sandboxes: [{ id: ci, secret: "s3cret p@ss/'w:rd", policy: default }]
`;
const URL_ = "https://a.example/x";
const JAVA = `import java.net.*;
public class Get {
  public static void main(String[] a) throws Exception {
    Authenticator.setDefault(new Authenticator() {
      protected PasswordAuthentication getPasswordAuthentication() {
        return new PasswordAuthentication(System.getProperty("https.proxyUser"), System.getProperty("https.proxyPassword").toCharArray());
      }
    });
    HttpURLConnection c = (HttpURLConnection) new URI("${URL_}").toURL().openConnection();
    System.out.println(c.getResponseCode() + " " + c.getResponseMessage());
  }
}
`;

const cwd = directory(YAML);
let child: ReturnType<typeof startSallyport>;
let env: Record<string, string>;

beforeAll(async () => {
  child = startSallyport(["run"], { cwd });
  for await (const line of createInterface({ input: child.stderr })) {
    const { msg, port } = JSON.parse(line) as { msg: string; port: number };
    if (msg !== "listening") continue;
    const asked = ["env", "--format", "json", "--sandbox", "ci", "--proxy", `http://127.0.0.1:${port}`];
    env = JSON.parse(sallyport(asked, { cwd }).stdout) as Record<string, string>;
    break;
  }
  child.stderr.resume();
});
afterAll(async () => {
  child.kill("SIGTERM");
  if (child.exitCode === null) await once(child, "exit");
});

describe("real clients read the refusal inside the tunnel", () => {
  const PYTHON = `import urllib.request\ntry: urllib.request.urlopen("${URL_}")\nexcept Exception as e: print(e)`;
  const NODE = `fetch("${URL_}").then((r) => console.log(r.status, r.statusText), (e) => console.log(e.cause))`;

  test.each<[client: string, args: string[]]>([
    ["curl", ["-sSi", URL_]],
    ["wget", ["-t", "1", "-O-", URL_]],
    ["git", ["ls-remote", `${URL_}.git`]],
    ["python3", ["-c", PYTHON]],
    ["node", ["-e", NODE]],
    ["npm", ["view", "left-pad", "--registry", "https://a.example/", "--fetch-retries", "0"]],
    ["java", ["Get.java"]],
    ["apt-get", ["update", ...apt()]],
  ])("%s", async (client, args) => {
    if (!installed(client)) return;
    writeFileSync(join(cwd, "Get.java"), JAVA);
    const said = await output(client, args);
    expect(said).toContain("403");
    // git and Java's own message are silent about the status line's text.
    expect(said).toMatch(/sallyport: path-not-allowed|requested URL returned error: 403|403 Forbidden/);
  });

  test("without the credentials it is 407, and without the CA no TLS", async () => {
    if (!installed("curl")) return;
    const bare = { ...env, https_proxy: (env["https_proxy"] ?? "").replace(/\/\/.*@/, "//") };
    expect(await output("curl", ["-sS", URL_], bare)).toContain("407");
    const { CURL_CA_BUNDLE: _, SSL_CERT_FILE: __, ...untrusting } = env;
    expect(await output("curl", ["-sS", URL_], untrusting)).toMatch(/certificate/i);
  });
});

/** Of a machine's own apt nothing is read or written. */
function apt(): string[] {
  const lists = join(cwd, "lists");
  const cache = join(cwd, "cache");
  for (const path of [lists, cache]) mkdirSync(join(path, "partial"), { recursive: true });
  mkdirSync(join(cache, "archives/partial"), { recursive: true });
  writeFileSync(join(cwd, "sources.list"), "deb [trusted=yes] https://a.example/debian stable main\n");
  const options = {
    "Dir::Etc::sourcelist": join(cwd, "sources.list"),
    "Dir::Etc::sourceparts": "-",
    "Dir::Etc::parts": "-",
    "Dir::Etc::main": "-",
    "Dir::State::lists": lists,
    "Dir::Cache": cache,
    "Acquire::Retries": "0",
    "APT::Sandbox::User": "root",
  };
  return Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
}

function installed(client: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((path) => existsSync(join(path, client)));
}

/** What it says on both streams; how it ends is each client's own. */
function output(client: string, args: string[], variables = env): Promise<string> {
  const settings = { cwd, env: { PATH: process.env["PATH"], HOME: cwd, ...variables }, timeout: 15_000 };
  return new Promise((resolve) => {
    execFile(client, args, settings, (_error, stdout, stderr) => resolve(`${stdout}${stderr}`));
  });
}
