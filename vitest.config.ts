// `npm test`: everything that needs Node alone and takes seconds. The rest is in vitest.slow.config.ts.

import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    exclude: ["test/slow/**", "test/clients/**", "test/containers/**"],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    expect: { poll: { timeout: 10_000 } },
    pool: "forks",
    maxWorkers: 2,
    coverage: {
      provider: "v8",
      include: ["src/**/*.ts"],
      reporter: ["text", "html"],
      reportOnFailure: true,
      // What decides is covered whole; the rest is measured, and must not fall.
      thresholds: {
        "src/policy/**": { 100: true },
        "src/net/**": { lines: 99.5, statements: 99, functions: 100, branches: 98.5 },
        "src/config/**": { lines: 99, statements: 99, functions: 99, branches: 93 },
        "src/**": { lines: 96, statements: 95, functions: 95, branches: 90 },
      },
    },
  },
});
