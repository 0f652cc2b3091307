// Directories for a test file's logs, removed when it has ended.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

const made: string[] = [];

afterAll(async () => {
  for (const directory of made) {
    await rm(directory, { recursive: true, force: true });
    await rm(`${directory}-moved`, { recursive: true, force: true });
  }
});

export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "sallyport-audit-"));
  made.push(directory);
  return directory;
}
