// websocket.mjs undici|ws URL: says hello, and prints what comes back.

import { globalAgent } from "node:https";
import { createRequire } from "node:module";

const [which, url] = process.argv.slice(2);
// ws makes connections of its own unless it is given an agent.
const open = {
  undici: () => new WebSocket(url),
  ws: () => new (createRequire("/opt/clients/")("ws"))(url, { agent: globalAgent }),
};
const socket = open[which]();
socket.addEventListener("open", () => socket.send("hello"));
socket.addEventListener("message", ({ data }) => {
  process.stdout.write(`${data}\n`);
  socket.close();
});
socket.addEventListener("error", ({ message, error }) => {
  process.stderr.write(`${message || String(error)}\n`);
  process.exitCode = 1;
});
