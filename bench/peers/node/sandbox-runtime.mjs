// The HTTP proxy of @anthropic-ai/sandbox-runtime: names are filtered, tunnels passed unread. Arguments: where its package is,
// port.

import { pathToFileURL } from "node:url";

const [modules, port] = process.argv.slice(2);
const file = `${modules}/node_modules/@anthropic-ai/sandbox-runtime/dist/sandbox/http-proxy.js`;
const { createHttpProxyServer } = await import(pathToFileURL(file).href);
createHttpProxyServer({ filter: (_port, host) => host === "origin.test" }).listen(Number(port), "127.0.0.1");
