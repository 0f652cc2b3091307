// Waits until what is expected holds, as long as a machine with other work may take: vi.waitFor alone gives up after a second.

import { vi } from "vitest";

export function eventually<Value>(expected: () => Value | Promise<Value>): Promise<Value> {
  return vi.waitFor(expected, { timeout: 10_000 });
}
