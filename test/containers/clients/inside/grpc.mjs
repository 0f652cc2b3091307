// grpc.mjs AUTHORITY unary|collect|echo|fail: one call of a kind; prints its messages and its status. CLIENTS: where its
// library is.

import { createRequire } from "node:module";

const grpc = createRequire(process.env.CLIENTS ?? "/opt/clients/")("@grpc/grpc-js");
const [authority, kind] = process.argv.slice(2);
const client = new grpc.Client(authority, grpc.credentials.createSsl());
const path = (method) => `/shop.Orders/${method}`;
const octets = (text) => Buffer.from(text);

const print = (line) => process.stdout.write(`${line}\n`);
const done = (status) => {
  print(`${grpc.status[status.code]}: ${status.details}`);
  process.exitCode = status.code === grpc.status.OK ? 0 : 1;
  client.close();
};
const unary = (method) => {
  const call = client.makeUnaryRequest(path(method), octets, String, "one", (error, message) => {
    if (error === null) print(message);
  });
  call.on("status", done);
};
const send = (call) => {
  for (const text of ["a", "b"]) call.write(text);
  call.end();
};
const kinds = {
  unary: () => unary("Unary"),
  fail: () => unary("Fail"),
  collect: () => {
    const call = client.makeClientStreamRequest(path("Collect"), octets, String, (error, message) => {
      if (error === null) print(message);
    });
    call.on("status", done);
    send(call);
  },
  echo: () => {
    const call = client.makeBidiStreamRequest(path("Echo"), octets, String);
    call.on("data", (message) => print(message));
    call.on("error", () => {});
    call.on("status", done);
    send(call);
  },
};
kinds[kind]();
