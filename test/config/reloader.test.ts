import { rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { formatDiagnostic } from "../../src/config/diagnostic.ts";
import { Reloader, type ReloaderOptions, type ReloadOutcome } from "../../src/config/reloader.ts";
import { fixture, requiredIn } from "./fixture.ts";

async function reloading(files: Record<string, string>, options: Partial<ReloaderOptions> = {}) {
  const { load, cwd, write } = await fixture(files);
  const published: number[] = [];
  const outcomes: ReloadOutcome[] = [];
  const watched: (readonly string[])[] = [];
  const reloader = new Reloader({
    load,
    publish: ({ generation }) => void published.push(generation),
    onOutcome: (outcome) => void outcomes.push(outcome),
    onFiles: (files) => void watched.push(files),
    ...options,
  });
  const policy = () => reloader.current?.snapshot.policies.get("default")?.policy;
  const write_ = (text: string) => write("sallyport.yaml", text);
  return { reloader, published, outcomes, watched, cwd, write: write_, writeFile: write, policy };
}

const lines = ({ diagnostics }: ReloadOutcome) => diagnostics.map(formatDiagnostic);
const shows = (value: string) => `anonymous: default\npolicies: { default: { show_rules: ${value} } }\n`;

test("before the first reload nothing holds", async () => {
  const { reloader } = await reloading({});
  expect([reloader.current, reloader.last]).toEqual([undefined, undefined]);
});

test("a valid file is the next generation; an invalid one changes nothing and says why", async () => {
  const { reloader, published, outcomes, write, watched, cwd } = await reloading({
    "sallyport.yaml": shows("true"),
  });
  expect(await reloader.reload("start")).toEqual({
    ok: true,
    cause: "start",
    generation: 1,
    diagnostics: [],
  });
  const first = reloader.current;
  expect(first?.snapshot.generation).toBe(1);

  await write("anonymous: defualt\n");
  const refused = await reloader.reload("file");
  expect({ ...refused, diagnostics: lines(refused) }).toEqual({
    ok: false,
    cause: "file",
    generation: 1,
    diagnostics: ['sallyport.yaml:1:12 unknown policy "defualt" (did you mean "default"?)'],
  });
  expect(reloader.current).toBe(first);
  expect(reloader.last).toBe(refused);

  await write(shows("false"));
  expect((await reloader.reload("signal")).generation).toBe(2);
  expect(published).toEqual([1, 2]);
  expect(outcomes.map(({ ok, cause }) => [ok, cause])).toEqual([
    [true, "start"],
    [false, "file"],
    [true, "signal"],
  ]);
  expect(watched).toHaveLength(3);
  expect(watched[1]).toEqual([join(cwd, "sallyport.yaml"), join(cwd, "presets"), ...requiredIn(cwd)]);
});

test("an invalid file at the start leaves nothing", async () => {
  const { reloader, published } = await reloading({ "sallyport.yaml": "nonsense" });
  const outcome = await reloader.reload("start");
  expect({ ...outcome, diagnostics: lines(outcome) }).toEqual({
    ok: false,
    cause: "start",
    generation: 0,
    diagnostics: ["sallyport.yaml:1:1 expected a mapping"],
  });
  expect([reloader.current, published]).toEqual([undefined, []]);
});

test("a file that was read and then deleted is an error; the defaults do not take its place", async () => {
  const { reloader, cwd } = await reloading({ "sallyport.yaml": "sandboxes: []" });
  await reloader.reload("start");
  await rm(join(cwd, "sallyport.yaml"));
  expect(lines(await reloader.reload("file"))).toEqual([
    `sallyport.yaml:1:1 the file cannot be read: it is not there`,
  ]);
  expect(reloader.current?.config.anonymous).toBeUndefined();
});

test("a file that is found empty is an error: it is about to be written, or was cut off", async () => {
  const { reloader, write, policy } = await reloading({ "sallyport.yaml": shows("true") });
  await reloader.reload("start");
  for (const text of ["", " \n"]) {
    await write(text);
    expect(lines(await reloader.reload("file"))).toEqual([
      "sallyport.yaml:1:1 the file is empty; write `{}` if the defaults are meant to hold",
    ]);
    expect(policy()?.showRule).toBe(true);
  }
  await write("{}");
  expect((await reloader.reload("file")).ok).toBe(true);
  expect(policy()?.showRule).toBe(false);
});

test("a file that appears takes the defaults' place, and is held on to from then on", async () => {
  const { reloader, write, cwd } = await reloading({});
  await reloader.reload("start");
  expect(reloader.current?.config.anonymous).toBe("default");
  await write("sandboxes: []");
  await reloader.reload("file");
  expect(reloader.current?.config.anonymous).toBeUndefined();
  await rm(join(cwd, "sallyport.yaml"));
  expect((await reloader.reload("file")).ok).toBe(false);
});

test("what compile and lint find changes nothing", async () => {
  const { reloader, published, write } = await reloading({ "sallyport.yaml": shows("true") });
  await reloader.reload("start");
  await write("anonymous: default\npolicies: { default: { preset: npm, splice: [www.npmjs.org] } }\n");
  const outcome = await reloader.reload("file");
  expect([outcome.ok, outcome.generation, published]).toEqual([false, 1, [1]]);
  expect(lines(outcome)).toEqual([
    expect.stringMatching(/^sallyport.yaml:2:46 `www.npmjs.org` .*preset npm/),
  ]);
});

test("a publish that throws changes nothing", async () => {
  const { reloader } = await reloading(
    {},
    {
      publish: () => {
        throw new Error("no");
      },
    },
  );
  const outcome = await reloader.reload("start");
  expect([outcome.ok, lines(outcome), reloader.current]).toEqual([
    false,
    ["sallyport.yaml:1:1 no"],
    undefined,
  ]);
});

test("settings that need a restart are warned of until it comes", async () => {
  const { reloader, write, writeFile } = await reloading({ "sallyport.yaml": "anonymous: default\n" });
  await writeFile("ca.pem", "");
  await reloader.reload("start");
  await write(`anonymous: default
audit:
  directory: elsewhere
  durability: disk
listen: [127.0.0.1:0]
admin: false
certs: elsewhere
ca: { cert: ca.pem, key: ca.pem }
limits: { connections: 7 }
`);
  const warned = [
    "sallyport.yaml:3:3 warning: audit.directory takes effect at restart",
    "sallyport.yaml:4:3 warning: audit.durability takes effect at restart",
    "sallyport.yaml:5:1 warning: listen takes effect at restart",
    "sallyport.yaml:6:1 warning: admin takes effect at restart",
    "sallyport.yaml:7:1 warning: certs takes effect at restart",
    "sallyport.yaml:8:1 warning: ca takes effect at restart",
  ];
  expect(lines(await reloader.reload("file"))).toEqual(warned);
  expect(lines(await reloader.reload("signal"))).toEqual(warned);
  expect(reloader.current?.config.limits.connections).toBe(7);
  await write("anonymous: default\n");
  expect(lines(await reloader.reload("file"))).toEqual([]);
});

test("reloads run one at a time; those asked for meanwhile are one more, with the newest text", async () => {
  const { reloader, write, policy, published } = await reloading({ "sallyport.yaml": shows("false") });
  const first = reloader.reload("start");
  await write(shows("true"));
  const [second, third] = [reloader.reload("file"), reloader.reload("signal")];
  expect(third).toBe(second);
  expect([(await first).generation, (await second).generation]).toEqual([1, 2]);
  expect([policy()?.showRule, published]).toEqual([true, [1, 2]]);
  expect((await reloader.reload("file")).generation).toBe(3);
});

test("a callback that throws is the caller's fault, and does not stop the next reload", async () => {
  let fail = true;
  const { reloader } = await reloading(
    {},
    {
      onOutcome: () => {
        if (fail) throw new Error("callback");
      },
    },
  );
  const first = reloader.reload("start");
  const second = reloader.reload("file");
  await expect(first).rejects.toThrow("callback");
  fail = false;
  expect((await second).generation).toBe(2);
});

// The last two of the six states of a security boolean: changed by a reload, and not changed by it.
test.each([
  [true, true],
  [true, false],
  [false, true],
  [false, false],
])("show_rules %s, then %s", async (before, after) => {
  const { reloader, write, policy } = await reloading({ "sallyport.yaml": shows(String(before)) });
  await reloader.reload("start");
  expect(policy()?.showRule).toBe(before);
  await write(shows("nonsense"));
  await reloader.reload("file");
  expect(policy()?.showRule).toBe(before);
  await write(shows(String(after)));
  await reloader.reload("file");
  expect(policy()?.showRule).toBe(after);
});

test("omitted by a reload, it is back at its default", async () => {
  const { reloader, write, policy } = await reloading({ "sallyport.yaml": shows("true") });
  await reloader.reload("start");
  await write("anonymous: default\npolicies: { default: {} }\n");
  await reloader.reload("file");
  expect(policy()?.showRule).toBe(false);
});
