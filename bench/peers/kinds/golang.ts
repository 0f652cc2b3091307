// Peers in Go: programs of bench/peers/go around Debian's packages of the libraries.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { GO_LIBRARIES } from "../lab.ts";
import { launched, type Peer } from "../peer.ts";
import { freePort } from "../processes.ts";

const there = (library: string): string | undefined =>
  existsSync(join(GO_LIBRARIES, "src", library)) ? undefined : `Debian's Go package of ${library} is missing`;

export const martian: Peer = {
  name: "martian",
  skills: ["intercept", "bulk", "handshakes", "mint", "plain"],
  missing: () => there("github.com/google/martian"),
  async start(lab) {
    const port = await freePort();
    const command = [lab.program("martian"), `127.0.0.1:${port}`, lab.ca.cert, lab.ca.key];
    return launched(command, port, { trusted: lab.ca.pem });
  },
};

/** It makes an RSA key for each tunnel, which keeps it out of what counts handshakes. */
export const goproxy: Peer = {
  name: "goproxy",
  skills: ["intercept", "bulk", "plain"],
  missing: () => there("github.com/elazarl/goproxy"),
  async start(lab) {
    const port = await freePort();
    const ca = join(lab.directory, `goproxy-${port}.pem`);
    const command = [lab.program("goproxy"), `127.0.0.1:${port}`, lab.ca.cert, ca];
    const running = await launched(command, port, { trusted: "" });
    return { ...running, trusted: await readFile(ca, "utf8") };
  },
};
