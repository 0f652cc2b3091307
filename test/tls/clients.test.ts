// The strictest verifiers that people run, each against real TLS with SNI. A client that is not installed is skipped.

import { execFile } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import tls from "node:tls";
import { promisify } from "node:util";
import { describe, test, type TestContext, expect } from "vitest";
import { caBundle, pkcs12Truststore } from "../../src/tls/bundle.ts";
import { mintLeaf } from "../../src/tls/mint.ts";
import type { Issuer } from "../../src/tls/trust-anchor.ts";
import { findProgram } from "../support/programs.ts";
import { host, ISSUERS, LONG, NAMES, serveBySni, temporaryDirectory, VERDICTS } from "./support.ts";

const run = promisify(execFile);
const program = (name: string): string => join(import.meta.dirname, "clients", name);

type Setting = { issuer: Issuer; address: string; caFile: string; directory: string };

describe.each(ISSUERS)("leaves of %s", (_name, makeIssuer) => {
  test("Node", async () => {
    const { address, issuer } = await setUp(makeIssuer);
    const verdicts = await Promise.all(NAMES.map(async (name) => [name, await nodeVerdict(address, name)]));
    expect(Object.fromEntries(verdicts)).toEqual(VERDICTS);

    async function nodeVerdict(to: string, name: string): Promise<string> {
      const port = Number(to.split(":")[1]);
      const servername = name === "127.0.0.1" ? "" : name;
      const socket = tls.connect({ host: "127.0.0.1", port, servername, ca: issuer.anchorPem });
      try {
        await once(socket, "secureConnect");
        return "ok";
      } catch (cause) {
        expect(cause).toMatchObject({ code: "ERR_TLS_CERT_ALTNAME_INVALID" });
        return "refused";
      } finally {
        socket.destroy();
      }
    }
  });

  test("OpenSSL, under x509_strict", async (context) => {
    await needs(context, "openssl", ["version"]);
    const { address, caFile } = await setUp(makeIssuer);
    const verdicts = await Promise.all(
      NAMES.map(async (name) => {
        const asked =
          name === "127.0.0.1"
            ? ["-noservername", "-verify_ip", name]
            : ["-servername", name, "-verify_hostname", name];
        const strict = ["-x509_strict", "-purpose", "sslserver", "-verify_return_error", "-CAfile", caFile];
        const client = run("openssl", ["s_client", "-connect", address, ...asked, ...strict]);
        client.child.stdin?.end();
        return [name, await client.then(() => "ok").catch(() => "refused")];
      }),
    );
    expect(Object.fromEntries(verdicts)).toEqual(VERDICTS);
  });

  test("openssl verify -x509_strict", async (context) => {
    await needs(context, "openssl", ["version"]);
    const { issuer, caFile, directory } = await setUp(makeIssuer);
    const leafFile = join(directory, "leaf.pem");
    await writeFile(leafFile, mintLeaf(issuer, host(LONG), Date.now()).chainPem);
    const { stdout } = await run("openssl", [
      "verify",
      "-x509_strict",
      "-purpose",
      "sslserver",
      "-verify_hostname",
      LONG,
      "-CAfile",
      caFile,
      "-untrusted",
      leafFile,
      leafFile,
    ]);
    expect(stdout).toBe(`${leafFile}: OK\n`);
  });

  test("Python, under VERIFY_X509_STRICT", async (context) => {
    await needs(context, "python3", ["-c", "import ssl"]);
    const { address, caFile } = await setUp(makeIssuer);
    expect(await verdictsOf("python3", [program("client.py"), address, caFile, ...NAMES])).toEqual(VERDICTS);
  });

  test("Go", async (context) => {
    await needs(context, "go", ["version"]);
    const { address, caFile } = await setUp(makeIssuer);
    expect(await verdictsOf("go", ["run", program("client.go"), address, caFile, ...NAMES])).toEqual(
      VERDICTS,
    );
  }, 120_000);

  test("Deno (rustls)", async (context) => {
    const deno = findProgram("deno") ?? "deno";
    await needs(context, deno, ["--version"]);
    const { address, caFile } = await setUp(makeIssuer);
    const args = ["run", "--quiet", "--no-config", "--allow-net", "--allow-read", program("client.deno.mjs")];
    expect(await verdictsOf(deno, [...args, address, caFile, ...NAMES])).toEqual(VERDICTS);
  });

  test("Java, with the trust store that sandboxes get", async (context) => {
    await needs(context, "javac", ["-version"]);
    const { address, issuer, directory } = await setUp(makeIssuer);
    const store = join(directory, "trust.p12");
    await writeFile(store, pkcs12Truststore([caBundle(issuer, { system: false })], "changeit"));
    const properties = [
      `-Djavax.net.ssl.trustStore=${store}`,
      "-Djavax.net.ssl.trustStoreType=PKCS12",
      "-Djavax.net.ssl.trustStorePassword=changeit",
    ];
    expect(await verdictsOf("java", [...properties, program("Client.java"), address, ...NAMES])).toEqual(
      VERDICTS,
    );
  }, 60_000);
});

async function setUp(makeIssuer: () => Promise<Issuer>): Promise<Setting> {
  const issuer = await makeIssuer();
  const directory = await temporaryDirectory();
  const caFile = join(directory, "anchor.pem");
  await writeFile(caFile, issuer.anchorPem);
  return { issuer, directory, caFile, address: `127.0.0.1:${await serveBySni(issuer)}` };
}

async function needs(context: TestContext, command: string, probe: string[]): Promise<void> {
  const present = await run(command, probe).then(
    () => true,
    () => false,
  );
  if (!present) context.skip(`${command} is not installed`);
}

async function verdictsOf(command: string, args: string[]): Promise<Record<string, string>> {
  const { stdout } = await run(command, args, { env: { ...process.env, GO111MODULE: "off" } });
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => /^(\S+) (ok|refused)/.exec(line)?.slice(1) ?? [line, "?"]),
  );
}
