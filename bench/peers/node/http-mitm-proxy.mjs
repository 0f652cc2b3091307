// http-mitm-proxy with keep-alive on. Arguments: where its package is, port, directory for its CA. It trusts NODE_EXTRA_CA_CERTS.

import { createRequire } from "node:module";

const [modules, port, directory] = process.argv.slice(2);
const { Proxy } = createRequire(`${modules}/`)("http-mitm-proxy");
const proxy = new Proxy();
proxy.onError((_context, error) => console.error(error.message));
proxy.listen({ port: Number(port), host: "127.0.0.1", keepAlive: true, sslCaDir: directory });
