// mitmdump, saying and keeping nothing.

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { has } from "../lab.ts";
import { launched, type Peer } from "../peer.ts";
import { freePort } from "../processes.ts";

export const mitmproxy: Peer = {
  name: "mitmproxy",
  skills: ["intercept"],
  missing: () => (has("mitmdump") ? undefined : "mitmproxy is not installed"),
  async start(lab) {
    const port = await freePort();
    const directory = join(lab.directory, `mitmproxy-${port}`);
    await mkdir(directory);
    const settings = [
      `confdir=${directory}`,
      "listen_host=127.0.0.1",
      `listen_port=${port}`,
      `ssl_verify_upstream_trusted_ca=${lab.ca.cert}`,
      "flow_detail=0",
      "termlog_verbosity=error",
    ].flatMap((setting) => ["--set", setting]);
    const names = join(import.meta.dirname, "..", "node", "names.py");
    const running = await launched(["mitmdump", "--quiet", "-s", names, ...settings], port, { trusted: "" });
    return { ...running, trusted: await readFile(join(directory, "mitmproxy-ca-cert.pem"), "utf8") };
  },
};
