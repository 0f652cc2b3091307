// The floor under any proxy on Node: octets go from one of its sockets to the other, and nothing is parsed, judged, minted or recorded. TLS is
// ended with the origin's own certificate, in a context of each tunnel's own, and made anew and verified. Backpressure is not minded.
// Sockets are read as Sallyport reads them (docs/decisions/0029-direct-reads.md).
// Arguments: port, origin's certificate and key, its CA, name server for all hosts but origin.test.

import { Resolver } from "node:dns/promises";
import { readFileSync } from "node:fs";
import { connect as connectTcp, createServer } from "node:net";
import { connect as connectTls, createSecureContext, TLSSocket } from "node:tls";
import { readDirectly } from "../../../src/net/direct-read.ts";

const [port, identity, ca, nameServer] = process.argv.slice(2);
const pem = readFileSync(identity);
const secureContext = createSecureContext({ ca: readFileSync(ca) });

function relay(one, other) {
  readDirectly(one, (chunk) => other.write(chunk));
  for (const event of ["error", "close"]) one.on(event, () => other.destroy());
}

async function addressOf(host) {
  if (host === "origin.test") return "127.0.0.1";
  const resolver = new Resolver();
  resolver.setServers([nameServer]);
  const none = () => [];
  const [[address]] = await Promise.all([resolver.resolve4(host), resolver.resolve6(host).catch(none)]);
  return address;
}

async function tunnel(socket, host, at) {
  socket.write("HTTP/1.1 200 OK\r\n\r\n");
  const inside = new TLSSocket(socket, {
    isServer: true,
    secureContext: createSecureContext({ cert: pem, key: pem }),
  });
  inside.on("error", () => {});
  const outside = connectTls({ host: await addressOf(host), port: at, servername: host, secureContext });
  outside.setNoDelay(true);
  relay(inside, outside);
  relay(outside, inside);
}

createServer({ noDelay: true }, (socket) => {
  socket.on("error", () => {});
  socket.once("data", (first) => {
    const [, method, host, at] = /^(\w+) (?:http:\/\/)?([^:/]+):(\d+)/.exec(first.toString("latin1"));
    if (method === "CONNECT") return void tunnel(socket, host, Number(at)).catch(() => socket.destroy());
    const outside = connectTcp({ host: "127.0.0.1", port: Number(at), noDelay: true });
    outside.write(first);
    relay(socket, outside);
    relay(outside, socket);
  });
}).listen(Number(port), "127.0.0.1");
