// The system can refuse to watch (no more inotify instances) or stop: both are told, and neither throws.

import { EventEmitter } from "node:events";
import { expect, test, vi } from "vitest";
import { watchConfig } from "../../src/config/watch.ts";
import { fixture } from "./fixture.ts";

const system = vi.hoisted(() => ({ watch: undefined as (() => unknown) | undefined }));
vi.mock("node:fs", async (original) => ({ ...(await original()), watch: () => system.watch?.() }));

const refusal = new Error("no space left on device");

test("a watch that is refused", async () => {
  system.watch = () => {
    throw refusal;
  };
  const { cwd } = await fixture();
  const faults: unknown[] = [];
  const onFault = (directory: string, cause: unknown) => void faults.push([directory, cause]);
  const watch = await watchConfig({ files: [`${cwd}/a.yaml`], onChange: () => {}, onFault });
  expect(faults).toEqual([[cwd, refusal]]);
  watch.close();
  await watchConfig({ files: [`${cwd}/a.yaml`], onChange: () => {} });
});

test("a watch that ends", async () => {
  const watcher = Object.assign(new EventEmitter(), { close: vi.fn<() => void>() });
  system.watch = () => watcher;
  const { cwd } = await fixture();
  const faults: unknown[] = [];
  const onFault = (directory: string, cause: unknown) => void faults.push([directory, cause]);
  const watch = await watchConfig({ files: [`${cwd}/a.yaml`], onChange: () => {}, onFault });
  watcher.emit("error", refusal);
  expect(faults).toEqual([[cwd, refusal]]);
  expect(watcher.close).toHaveBeenCalledTimes(1);
  watch.close();
  expect(watcher.close).toHaveBeenCalledTimes(1);
});
