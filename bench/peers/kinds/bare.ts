// What Node's own sockets cost, with no proxy on them: no peer, but what none on Node can be below.

import { join } from "node:path";
import { NODE_FLAGS } from "../../../scripts/node-flags.ts";
import { launched, type Peer } from "../peer.ts";
import { freePort } from "../processes.ts";

const SCRIPT = join(import.meta.dirname, "..", "node", "bare.mjs");

export const bare: Peer = {
  name: "bare-node",
  skills: ["intercept", "bulk", "mint", "plain"],
  missing: () => undefined,
  async start({ identity, ca, nameServer }) {
    const port = await freePort();
    const command = [process.execPath, ...NODE_FLAGS, SCRIPT, String(port), identity, ca.cert, nameServer];
    return launched(command, port, { trusted: ca.pem });
  },
};
