// node-https.mjs METHOD URL [BODY]: node:https as it comes; the environment alone says which proxy and which CA.

import { request } from "node:https";

const [method, url, body] = process.argv.slice(2);
const sent = request(url, { method }, (answer) => {
  if (answer.statusCode !== 200) {
    process.stderr.write(`${answer.statusCode} ${answer.statusMessage}\n`);
    process.exitCode = 1;
  }
  answer.pipe(process.stdout);
});
sent.on("error", (error) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
sent.end(body);
