// Runs beside the proxy, in its network namespace: an origin that sends half of an answer and the rest at SIGUSR1, and the
// client that asks for it through the proxy. Prints what comes through, and what a connection made meanwhile is answered.

const { createServer, get } = require("node:http");

const origin = createServer((_request, response) => {
  response.setHeader("Content-Length", 8);
  response.write("half");
  process.once("SIGUSR1", () => response.end("done"));
});
origin.listen(8080, "127.0.0.1", () => ask("/first"));
process.on("SIGUSR2", () => ask("/second"));

function ask(path) {
  const told = (...what) => process.stdout.write(`${[path, ...what].join(" ")}\n`);
  const url = `http://origin.test:8080${path}`;
  const options = { host: "127.0.0.1", port: 3128, path: url, headers: { Host: "origin.test:8080" } };
  const sent = get({ ...options, agent: false }, (answer) => {
    if (answer.statusCode !== 200) told(answer.statusCode, answer.headers["sallyport-reason"]);
    answer.on("data", (data) => answer.statusCode === 200 && told(String(data)));
    answer.on("end", () => path === "/first" && process.exit());
  });
  sent.on("error", (error) => told(error.code));
}
