// The benchmark's origin: 1 KiB for every request, over TLS and plain. Prints its ports.

import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";

const body = Buffer.alloc(1024, 97);
const plain = createServer({ keepAliveTimeout: 60_000 }, (_request, response) => response.end(body));
const secured = createTlsServer(
  { cert: process.env["CERT"] ?? "", key: process.env["KEY"] ?? "", keepAliveTimeout: 60_000 },
  (_request, response) => response.end(body),
);
secured.listen(0, "127.0.0.1", () => {
  plain.listen(0, "127.0.0.1", () => {
    console.log(JSON.stringify([secured, plain].map((server) => (server.address() as AddressInfo).port)));
  });
});
