// Which networks are sandboxes' own: an address is never two sandboxes', whoever asks for it.

import { overlap, parseNetwork } from "../net/address.ts";
import type { Declared } from "./declared.ts";
import { bodyOf } from "./documents.ts";
import type { Replica } from "./replica.ts";
import { ControlError } from "./types.ts";

export function checkUnclaimed(replica: Replica, declared: Declared, sources: readonly string[]): void {
  if (sources.length === 0) return;
  const asked = sources.flatMap((text) => parseNetwork(text) ?? []);
  for (const text of claimed(replica, declared)) {
    const network = parseNetwork(text);
    // Not whose it is: a runtime is not told of others' sandboxes.
    if (network !== undefined && asked.some((one) => overlap(one, network)))
      throw new ControlError("conflict", `${text} is another sandbox's`);
  }
}

function* claimed(replica: Replica, declared: Declared): Iterable<string> {
  for (const { sources = [] } of declared.sandboxes) yield* sources;
  for (const document of replica.all("sandbox")) {
    const { state, sources } = bodyOf("sandbox", document);
    if (state === "active") yield* sources;
  }
}
