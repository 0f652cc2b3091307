// Loaded before a peer: every name below .test is this machine.

import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";

const { lookup } = dns;
dns.lookup = (host, options, callback) => {
  if (!host.endsWith(".test")) return lookup(host, options, callback);
  const [settings, done] = typeof options === "function" ? [{}, options] : [options, callback];
  process.nextTick(() => {
    if (settings?.all === true) done(null, [{ address: "127.0.0.1", family: 4 }]);
    else done(null, "127.0.0.1", 4);
  });
};
syncBuiltinESMExports();
