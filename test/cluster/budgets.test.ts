// One budget over two workers: drawn from the primary, so that together they pass no more than there is, also where one of them
// is killed with what it had drawn.

import { expect, test } from "vitest";
import { request } from "node:http";
import { load, startCluster, workerOf } from "./support.ts";

test("two workers share one budget of requests, to the last", async () => {
  await using cluster = await startCluster({ budgets: "requests: 20" });
  const target = `http://a.test:${cluster.origin.port}/`;
  let answered = 0;
  const judges = new Set<string>();
  // The system shares connections out as it likes: until each has had some, to let pass or to refuse.
  for (let round = 0; round < 50 && (round === 0 || judges.size < 2); round++) {
    const outcome = await load(cluster.child.port, target, { enough: ({ cut }) => cut >= 40 });
    answered += outcome.answered;
    for (const record of await cluster.records())
      if (record.type === "decision") judges.add(workerOf(record));
  }
  expect(judges).toEqual(new Set(["1", "2"]));
  expect(answered).toBe(20);
  expect(cluster.origin.received.match(/^GET /gm)?.length).toBe(20);
});

test("a worker that is killed takes no more than a chunk with it, and gives nobody more", async () => {
  const LIMIT = 256 * 1024;
  const CHUNK = LIMIT / 64;
  await using cluster = await startCluster({ budgets: "upload: 256KiB" });
  const [first] = cluster.pids();
  let sent = 0;
  let refused = 0;
  const lane = async (): Promise<void> => {
    while (refused < 8) {
      const status = await post(
        cluster.child.port,
        `http://a.test:${cluster.origin.port}/`,
        "u".repeat(1000),
      );
      if (status === 429) refused++;
      if (++sent === 60 && first !== undefined) process.kill(first, "SIGKILL");
    }
  };
  await Promise.all([lane(), lane(), lane(), lane()]);
  const octets = cluster.origin.received.length;
  // The origin sees the field of the length too, which is not the sandbox's.
  const framing = (cluster.origin.received.match(/Content-Length: 1000\r\n/gi)?.length ?? 0) * 22;
  expect(octets - framing).toBeLessThanOrEqual(LIMIT);
  // One chunk in the worker that was killed, at most one in each that was left with less than a request takes.
  expect(octets - framing).toBeGreaterThan(LIMIT - 4 * CHUNK);
});

/** The answer's status; `undefined`: there was none. */
function post(port: number, target: string, body: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const sent = request({
      port,
      host: "127.0.0.1",
      method: "POST",
      path: target,
      headers: { host: new URL(target).host, "content-length": body.length },
      agent: false,
    });
    sent.on("response", (response) => {
      response.resume().on("error", () => {});
      response.on("close", () => resolve(response.statusCode));
    });
    sent.on("error", () => resolve(undefined));
    sent.end(body);
  });
}
