// What takes minutes, or needs more than Node on the machine: kills and loads (test/slow), real clients (test/clients) and
// containers (test/containers). One file at a time, so that neither the figures nor the clients disturb each other.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/slow/**/*.test.ts", "test/clients/**/*.test.ts", "test/containers/**/*.test.ts"],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 10_000 } },
    pool: "forks",
    fileParallelism: false,
  },
});
