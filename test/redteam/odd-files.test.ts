// What stands where a file of the operator's should be, and would never end or never begin.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readText } from "../../src/config/read.ts";

const directory = mkdtempSync(join(tmpdir(), "sallyport-odd-files-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("a pipe that nobody writes to, and a device that never ends, are refused at once", async () => {
  const pipe = join(directory, "pipe.yaml");
  execFileSync("mkfifo", [pipe]);
  const device = join(directory, "device.yaml");
  symlinkSync("/dev/zero", device);
  const why = "it is not a regular file";
  expect(await readText(pipe)).toEqual({ state: "unreadable", why });
  expect(await readText(device)).toEqual({ state: "unreadable", why });
  expect(await readText(directory)).toEqual({ state: "unreadable", why: "it is a directory" });
});
