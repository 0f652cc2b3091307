import { expect, test } from "vitest";

import { decide } from "../../src/policy/decide.ts";
import type { RequestFacts } from "../../src/policy/types.ts";
import { request, shipped, snapshotOf, type PolicyText } from "./support.ts";

const GITHUB: PolicyText = {
  presets: [{ name: "github", patterns: ["**.github.com"], intents: ["git-fetch"] }],
};
const FETCH: PolicyText = { ...GITHUB, intents: ["git-fetch"] };

function verdictOf(policy: PolicyText, facts: RequestFacts): string {
  const verdict = decide(snapshotOf(policy), facts);
  return verdict.action === "allow"
    ? `allow ${verdict.rule.id}`
    : `deny ${verdict.reason} ${verdict.rule?.id}`;
}

const REPO = "https://github.com/acme/shop.git";

test("an intent's verdict, whole", () => {
  expect(decide(snapshotOf(FETCH), request(`POST ${REPO}/git-upload-pack`, { body: true }))).toEqual({
    action: "allow",
    rule: { id: "intent:git-fetch", source: "preset:github" },
    preset: "github",
    handling: "intercept",
    wouldDeny: undefined,
  });
});

test.each([
  // a clone and a fetch
  [`GET ${REPO}/info/refs?service=git-upload-pack`, "allow preset:github", "allow preset:github"],
  [`POST ${REPO}/git-upload-pack`, "allow intent:git-fetch", "deny method-not-allowed preset:github"],
  // a push, and what some server may take for one
  [`GET ${REPO}/info/refs?service=git-receive-pack`, PUSH(), PUSH()],
  [`HEAD ${REPO}/info/refs?service=git-receive-pack`, PUSH(), PUSH()],
  [`POST ${REPO}/git-receive-pack`, PUSH(), PUSH()],
  [`POST ${REPO}/git-receive-pack/`, PUSH(), PUSH()],
  [`POST ${REPO}/git%2Dreceive-pack`, PUSH(), PUSH()],
  [`POST ${REPO}%2Fgit-receive-pack`, PUSH(), PUSH()],
  [`POST ${REPO}/git-receive-pack;x=1`, PUSH(), PUSH()],
  [`POST ${REPO}/GIT-RECEIVE-PACK`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?service=git-upload-pack&service=git-receive-pack`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?service=git-receive-pack&service=git-upload-pack`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?a=b;service=git-receive-pack`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?service=git%2Dreceive-pack`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?%73ervice=git-receive-pack`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?SERVICE=Git-Receive-Pack`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?service=+git-receive-pack`, PUSH(), PUSH()],
  [`GET ${REPO}/info/refs?service=git-receive-pack&x=1`, PUSH(), PUSH()],
  // neither
  [`GET ${REPO}/info/refs?service`, "allow preset:github", "allow preset:github"],
  [`GET ${REPO}/info/refs`, "allow preset:github", "allow preset:github"],
  [
    `GET https://github.com/git/git/blob/master/git-receive-pack`,
    "allow preset:github",
    "allow preset:github",
  ],
  [`POST ${REPO}/git-upload-pack?x=1`, NOT(), NOT()],
  [`POST ${REPO}/git%252Dupload-pack`, NOT(), NOT()],
  [`POST ${REPO}%2Fgit-upload-pack`, NOT(), NOT()],
  [`POST ${REPO}/xgit-upload-pack`, NOT(), NOT()],
  [`POST ${REPO}/info/refs?service=git-upload-pack`, NOT(), NOT()],
  [`PUT ${REPO}/git-upload-pack`, NOT(), NOT()],
  [`POST ${REPO}/info/lfs/objects/batch`, NOT(), NOT()],
])("%s: %s with git-fetch, %s without", (line, fetch, none) => {
  expect([verdictOf(FETCH, request(line)), verdictOf(GITHUB, request(line))]).toEqual([fetch, none]);
});

function PUSH(): string {
  return "deny push-not-allowed preset:github";
}

function NOT(): string {
  return "deny method-not-allowed preset:github";
}

test("any method limit refuses a push; none allows it", () => {
  for (const line of [`POST ${REPO}/git-receive-pack`, `GET ${REPO}/info/refs?service=git-receive-pack`]) {
    const limited: PolicyText = { allow: [{ host: "github.com", methods: ["GET", "POST"] }] };
    expect(verdictOf(limited, request(line))).toBe("deny push-not-allowed allow[0]");
    expect(verdictOf({ allow: [{ host: "github.com", methods: "all" }] }, request(line))).toBe(
      "allow allow[0]",
    );
  }
});

test("an intent is an exception to the policy's methods alone", () => {
  const fetch = request(`POST ${REPO}/git-upload-pack`, { body: true });
  const rule = (methods?: readonly string[]): PolicyText => ({
    intents: ["git-fetch"],
    allow: [{ host: "github.com", ...(methods && { methods }) }],
  });
  expect(verdictOf(rule(), fetch)).toBe("allow intent:git-fetch");
  expect(verdictOf(rule(["GET"]), fetch)).toBe("deny method-not-allowed allow[0]");
  expect(verdictOf({ ...FETCH, methods: [] }, fetch)).toBe("deny method-not-allowed preset:github");
  expect(verdictOf({ ...FETCH, methods: ["HEAD"] }, fetch)).toBe("allow intent:git-fetch");
  const refs = request(`GET ${REPO}/info/refs?service=git-upload-pack`);
  expect(verdictOf({ ...FETCH, methods: ["HEAD"] }, refs)).toBe("allow intent:git-fetch");
  expect(verdictOf({ ...FETCH, methods: ["HEAD"] }, { ...refs, body: true })).toBe(
    "deny method-not-allowed preset:github",
  );
});

test("an intent covers no upgrade and no override", () => {
  const fetch = request(`POST ${REPO}/git-upload-pack`);
  expect(verdictOf(FETCH, { ...fetch, upgrade: true })).toBe("deny upgrade-not-allowed preset:github");
  expect(verdictOf(FETCH, { ...fetch, methodOverride: true })).toBe("deny method-override preset:github");
});

test.each([
  ["POST https://packages.npmjs.org/-/npm/v1/security/advisories/bulk", "allow intent:npm-audit"],
  ["POST https://packages.npmjs.org/-/npm/v1/security/audits/quick", "allow intent:npm-audit"],
  ["POST https://packages.npmjs.org/-/npm/v1/security/audits/quick?x", "deny method-not-allowed preset:npm"],
  ["POST https://packages.npmjs.org/-/npm/v1/security/audits/quick/", "deny method-not-allowed preset:npm"],
  ["POST https://packages.npmjs.org/-/npm/v1/security/../tokens", "deny method-not-allowed preset:npm"],
  ["PUT https://packages.npmjs.org/-/npm/v1/security/audits/quick", "deny method-not-allowed preset:npm"],
])("npm-audit: %s: %s", (line, expected) => {
  const npm: PolicyText = { presets: [{ name: "npm", patterns: ["**.npmjs.org"], intents: ["npm-audit"] }] };
  expect(verdictOf({ ...npm, intents: ["npm-audit"] }, request(line))).toBe(expected);
  expect(verdictOf({ ...npm, intents: ["git-fetch"] }, request(line))).toBe(
    "deny method-not-allowed preset:npm",
  );
});

// Whoever runs a host can read what is posted to it: an allowed host is not yet one that serves git.
test.each([
  [`POST ${REPO}/git-upload-pack`, "allow intent:git-fetch"],
  ["POST https://gitlab.com/a/b.git/git-upload-pack", "allow intent:git-fetch"],
  [
    "POST https://evil.eastus.cloudapp.azure.com/x.git/git-upload-pack",
    "deny method-not-allowed preset:microsoft",
  ],
  ["POST https://x.sourceforge.net/x.git/git-upload-pack", "deny method-not-allowed preset:sourceforge"],
  ["POST https://packages.yarnpkg.com/-/npm/v1/security/audits/quick", "allow intent:npm-audit"],
  ["POST https://pypi.org/-/npm/v1/security/audits/quick", "deny method-not-allowed preset:pypi"],
  ["POST https://named.example/x.git/git-upload-pack", "allow intent:git-fetch"],
])("under common-dependencies with every intent, %s: %s", (line, expected) => {
  const policy: PolicyText = {
    presets: shipped("common-dependencies"),
    intents: ["git-fetch", "npm-audit"],
    allow: [{ host: "named.example", source: "test" }],
  };
  expect(verdictOf(policy, request(line, { body: true }))).toBe(expected);
});

test("a preset that names no intents serves none, and `all` serves all", () => {
  const own: PolicyText = {
    presets: [{ name: "mine", patterns: ["**.github.com"] }],
    intents: ["git-fetch"],
  };
  const fetch = request(`POST ${REPO}/git-upload-pack`, { body: true });
  expect(verdictOf(own, fetch)).toBe("deny method-not-allowed preset:mine");
  expect(verdictOf({ ...own, presets: shipped("all") }, fetch)).toBe("allow intent:git-fetch");
});
