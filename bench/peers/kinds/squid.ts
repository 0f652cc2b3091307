// Squid with ssl_bump: certificates minted by its helper, origins verified, nothing cached, no access log.

import { execFileSync } from "node:child_process";
import { mkdir, chmod, copyFile, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { has } from "../lab.ts";
import { launched, type Peer } from "../peer.ts";
import { freePort } from "../processes.ts";

const MINT = "/usr/lib/squid/security_file_certgen";
export const squid: Peer = {
  name: "squid",
  skills: ["intercept", "bulk", "handshakes", "mint", "plain"],
  missing: () => (has("squid") && existsSync(MINT) ? undefined : "squid-openssl is not installed"),
  async start(lab) {
    const port = await freePort();
    const directory = join(lab.directory, `squid-${port}`);
    await mkdir(directory);
    await chmod(directory, 0o777); // it gives up root
    execFileSync(MINT, ["-c", "-s", join(directory, "minted"), "-M", "64MB"], { stdio: "ignore" });
    execFileSync("chmod", ["-R", "a+rwX", directory]);
    // Made anew for squid: its own user reads it.
    await copyFile(lab.ca.key, join(directory, "ca.key"));
    // It asks name servers on port 53 alone.
    const hosts = ["origin.test", ...lab.coldHosts].map((host) => `127.0.0.1 ${host}\n`);
    await writeFile(join(directory, "hosts"), hosts.join(""));
    await writeFile(
      join(directory, "squid.conf"),
      `
http_port 127.0.0.1:${port} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=64MB tls-cert=${lab.ca.cert} tls-key=${join(directory, "ca.key")}
sslcrtd_program ${MINT} -s ${join(directory, "minted")} -M 64MB
acl step1 at_step SslBump1
ssl_bump peek step1
ssl_bump bump all
tls_outgoing_options cafile=${lab.ca.cert}
http_access allow all
cache deny all
cache_mem 0
access_log none
cache_log /dev/null
pinger_enable off
pid_filename none
hosts_file ${join(directory, "hosts")}
coredump_dir ${directory}
visible_hostname squid.test
shutdown_lifetime 0 seconds
`,
    );
    return launched(["squid", "-N", "-f", join(directory, "squid.conf")], port, { trusted: lab.ca.pem });
  },
};
