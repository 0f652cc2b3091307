import { expect, test } from "vitest";
import { openAudit } from "../../src/audit/log.ts";
import { decisionsAbout, refusalsIn } from "../../src/audit/refusals.ts";
import { temporaryDirectory } from "./directory.ts";
import { DENY, SUBJECT } from "./helpers.ts";

test("an id that is somebody's anew tells nothing of whose it was, nor of those that resemble it", async () => {
  const directory = await temporaryDirectory();
  let now = Date.parse("2026-01-01T10:00:00Z");
  const audit = await openAudit({ directory, durability: "process", now: () => now });
  const refuse = (sandbox: string, path: string): Promise<void> =>
    audit.begin({ ...SUBJECT, sandbox, path }).decide(DENY);
  await refuse("ci", "/before");
  now += 3_600_000;
  const since = now;
  await refuse("ci", "/after");
  await refuse("ci-2", '/"sandbox":"ci"');
  await audit.close();
  const told = async (from: number) =>
    (await refusalsIn(decisionsAbout(directory, { sandbox: "ci", since: from }))).map(({ url }) => url);
  expect(await told(0)).toEqual(["https://registry.example/before", "https://registry.example/after"]);
  expect(await told(since)).toEqual(["https://registry.example/after"]);
});
