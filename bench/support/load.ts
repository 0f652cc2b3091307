// The benchmark's load: so many connections, one request at a time on each, as little work per answer as will do. Takes its
// orders on standard input and prints how long it took.

import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

type Orders = {
  readonly mode: "tls" | "plain" | "connect-each" | "refused";
  readonly requests: number;
  readonly connections: number;
  readonly proxy: number;
  /** TLS port, plain port. */
  readonly origin: readonly [number, number];
  readonly trusted: string;
};

let text = "";
for await (const chunk of process.stdin) text += String(chunk);
const orders = JSON.parse(text) as Orders;
const { mode, origin, proxy, trusted } = orders;
const host = `origin.test:${mode === "plain" ? origin[1] : origin[0]}`;
const target = mode === "plain" ? `http://${host}/x` : "/x";
const request =
  mode === "refused"
    ? `POST ${target} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\n\r\n`
    : `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`;
const latencies: number[] = [];
let left = orders.requests;
const began = performance.now();
await Promise.all(Array.from({ length: orders.connections }, () => client()));
const seconds = (performance.now() - began) / 1000;
latencies.sort((a, b) => a - b);
const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
process.stdout.write(JSON.stringify({ seconds, p50: at(0.5), p99: at(0.99) }), () => process.exit(0));

async function client(): Promise<void> {
  let socket: Socket | undefined;
  while (left-- > 0) {
    const from = performance.now();
    socket ??= await open();
    socket.write(request);
    await answer(socket);
    latencies.push(performance.now() - from);
    if (mode !== "connect-each") continue;
    socket.destroy();
    socket = undefined;
  }
  socket?.destroy();
}

async function open(): Promise<Socket> {
  const socket = connectTcp(proxy, "127.0.0.1");
  socket.setNoDelay(true);
  if (mode === "plain") return socket;
  socket.write(`CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  await once(socket, "data");
  const secured = connectTls({ socket, servername: "origin.test", ca: trusted });
  await once(secured, "secureConnect");
  return secured;
}

/** Reads one answer by its Content-Length. */
function answer(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let expected = -1;
    let got = 0;
    let head = "";
    const onData = (chunk: Buffer): void => {
      got += chunk.length;
      if (expected === -1) {
        head += chunk.toString("latin1");
        const end = head.indexOf("\r\n\r\n");
        if (end === -1) return;
        expected = end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        const status = head.slice(9, 12);
        if (status !== (mode === "refused" ? "403" : "200")) reject(new Error(head));
      }
      if (got < expected) return;
      socket.off("data", onData);
      socket.off("close", onClose);
      resolve();
    };
    const onClose = (): void => reject(new Error("closed"));
    socket.on("data", onData);
    socket.once("close", onClose);
  });
}
