// mockttp, passing everything through, recording nothing. Arguments: where its package is, port, file for its CA, origin's CA.

import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, port, ca, origin] = process.argv.slice(2);
const mockttp = createRequire(`${modules}/`)("mockttp");
const { key, cert } = await mockttp.generateCACertificate();
writeFileSync(ca, cert);
const server = mockttp.getLocal({ https: { key, cert }, http2: false, recordTraffic: false });
await server.forAnyRequest().thenPassThrough({ additionalTrustedCAs: [{ certPath: origin }] });
await server.start(Number(port));
