import { mkdir, rename, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, onTestFinished, test } from "vitest";
import { watchConfig, type WatchOptions } from "../../src/config/watch.ts";
import { fixture } from "./fixture.ts";

const SETTLE_MS = 25;

/** Counts changes; `next` waits for one more than there were when it was called. */
async function watching(files: string[], options: Partial<WatchOptions> = {}) {
  let changes = 0;
  let wake = () => {};
  const watch = await watchConfig({
    files,
    settleMs: SETTLE_MS,
    onChange: () => {
      changes += 1;
      wake();
    },
    ...options,
  });
  onTestFinished(() => watch.close());
  const next = (act: () => Promise<unknown>) =>
    new Promise<void>((resolve, reject) => {
      wake = resolve;
      act().catch(reject);
    });
  return { watch, next, count: () => changes };
}

test("a file that is written, renamed over, removed and made again", async () => {
  const { cwd, write } = await fixture({ "sallyport.yaml": "" });
  const file = join(cwd, "sallyport.yaml");
  const { next } = await watching([file]);
  await next(() => writeFile(file, "admin: false"));
  await next(async () => rename(await write("sallyport.yaml.tmp", "admin: false"), file));
  await next(() => writeFile(file, "# after the rename"));
  await next(() => unlink(file));
  await next(() => writeFile(file, "admin: false"));
});

test("a file that is not there yet", async () => {
  const { cwd } = await fixture();
  const { next } = await watching([join(cwd, "sallyport.yaml"), join(cwd, "presets")]);
  await next(() => writeFile(join(cwd, "sallyport.yaml"), ""));
  await next(() => mkdir(join(cwd, "presets")));
});

test("other files beside it do not matter; in a directory that is watched every file does", async () => {
  const { cwd, write } = await fixture({ "sallyport.yaml": "", "presets/one.yaml": "" });
  const { next, count } = await watching([join(cwd, "sallyport.yaml"), join(cwd, "presets")]);
  await write("other.yaml", "");
  await sleep(4 * SETTLE_MS);
  expect(count()).toBe(0);
  await next(() => write("presets/two.yaml", ""));
});

test("a ConfigMap's links that are swapped", async () => {
  const { cwd, write } = await fixture({ "..one/sallyport.yaml": "admin: false" });
  await symlink("..one", join(cwd, "..data"));
  await symlink("..data/sallyport.yaml", join(cwd, "sallyport.yaml"));
  const file = join(cwd, "sallyport.yaml");
  const { next, watch } = await watching([file]);
  for (const version of ["..two", "..three"]) {
    await write(`${version}/sallyport.yaml`, "");
    await next(async () => {
      await symlink(version, join(cwd, "..data_tmp"));
      await rename(join(cwd, "..data_tmp"), join(cwd, "..data"));
    });
    await watch.update([file]);
  }
  await rm(join(cwd, "..one"), { recursive: true });
});

test("what a link leads to", async () => {
  const { cwd, write } = await fixture({ "real/file.yaml": "" });
  await symlink("real/file.yaml", join(cwd, "sallyport.yaml"));
  const { next } = await watching([join(cwd, "sallyport.yaml")]);
  await next(() => write("real/file.yaml", "admin: false"));
});

test("update watches other files, and a directory that took another's place", async () => {
  const { cwd, write } = await fixture({ "sallyport.yaml": "", "presets/one.yaml": "" });
  const presets = join(cwd, "presets");
  const { next, watch, count } = await watching([join(cwd, "sallyport.yaml")]);
  await watch.update([presets]);
  await next(() => write("presets/one.yaml", "x"));
  await next(() => rename(presets, join(cwd, "old")));
  await next(() => mkdir(presets));
  await watch.update([presets]);
  await next(() => write("presets/one.yaml", "y"));
  const before = count();
  await write("old/one.yaml", "z");
  await sleep(4 * SETTLE_MS);
  expect(count()).toBe(before);
});

test("many events are one change, and events without end are told all the same", async () => {
  const { cwd } = await fixture({ "sallyport.yaml": "" });
  const file = join(cwd, "sallyport.yaml");
  const { next, count } = await watching([file], { settleMs: 10_000, mostMs: 200 });
  const busy = setInterval(() => void writeFile(file, String(Math.random())), 5);
  await next(async () => {}).finally(() => clearInterval(busy));
  expect(count()).toBe(1);
});

test("after close nothing is told, and nothing is watched anew", async () => {
  const { cwd, write } = await fixture({ "sallyport.yaml": "" });
  const file = join(cwd, "sallyport.yaml");
  const { watch, count } = await watching([file]);
  await write("sallyport.yaml", "x");
  const updated = watch.update([file, cwd]);
  watch.close();
  await updated;
  await write("sallyport.yaml", "y");
  await sleep(4 * SETTLE_MS);
  expect(count()).toBe(0);
});

test("a directory that does not exist is passed over", async () => {
  const { cwd } = await fixture();
  const { count } = await watching([join(cwd, "no", "such", "sallyport.yaml")]);
  expect(count()).toBe(0);
});
