// Where sandboxes connect: every listener that the configuration names, or none.

import type { Config } from "../config/types.ts";
import { listen, Occupancy, type Listener } from "../proxy/listener.ts";
import type { Parts } from "../proxy/parts.ts";

export type ListenersOptions = {
  readonly config: Config;
  /** Told of each, for the guard of the proxy's own addresses. */
  readonly bound: (address: string, port: number) => void;
  /** Before the numbers of connections. */
  readonly prefix?: string;
};

export async function openListeners(
  parts: Parts,
  { config, bound, prefix }: ListenersOptions,
): Promise<Listener[]> {
  const occupancy = new Occupancy(prefix);
  const opened: Listener[] = [];
  try {
    for (const endpoint of config.listen) {
      const listener = await listen(parts, { ...endpoint, occupancy });
      bound(listener.address, listener.port);
      opened.push(listener);
    }
    return opened;
  } catch (error) {
    await Promise.all(opened.map((listener) => listener.close()));
    throw error;
  }
}
