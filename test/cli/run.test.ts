import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer, connect, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";

import { directory, sallyport, startSallyport } from "./support.ts";

const FREE = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nanonymous: default\nlog: { format: json }\n";

type Line = { readonly msg: string; readonly port?: number };

/** The child, and the next line of its log that says so. */
function run(cwd: string) {
  const child = startSallyport(["run"], { cwd });
  const seen: string[] = [];
  const lines = createInterface({ input: child.stderr })[Symbol.asyncIterator]();
  const logged = async (msg: string): Promise<Line> => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`ended without ${JSON.stringify(msg)}:\n${seen.join("\n")}`);
      seen.push(value);
      const line = JSON.parse(value) as Line;
      if (line.msg === msg) return line;
    }
  };
  return { child, logged };
}

describe("run", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("listens, and %s ends it with 0", async (signal) => {
    const { child, logged } = run(directory(FREE));
    const { port } = await logged("listening");
    const socket = connect(port ?? 0, "127.0.0.1");
    await once(socket, "connect");
    socket.write("GET / HTTP/1.1\r\n\r\n");
    const [answer] = (await once(socket, "data")) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
    socket.destroy();
    const ended = once(child, "exit");
    child.kill(signal);
    expect(await ended).toEqual([0, null]);
  });

  test("SIGHUP reads the file again, and an invalid one changes nothing", async () => {
    const cwd = directory(FREE);
    const { child, logged } = run(cwd);
    await logged("listening");
    writeFileSync(join(cwd, "sallyport.yaml"), `${FREE}polices: {}\n`);
    child.kill("SIGHUP");
    await logged("configuration is not valid; the one before stays in force");
    writeFileSync(join(cwd, "sallyport.yaml"), FREE);
    child.kill("SIGHUP");
    await logged("configuration reloaded");
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("an invalid file is refused with its diagnostics", () => {
    const { status, stderr } = sallyport(["run"], { cwd: directory("listen: 5\nanonymous: default\n") });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^sallyport: the configuration is not valid:\nsallyport\.yaml:1:9 expected /);
  });

  test("a port that is taken is named", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const cwd = directory(
      `listen: 127.0.0.1:${port}\nadmin: false\nanonymous: default\nlog: { level: silent }\n`,
    );
    const child = startSallyport(["run"], { cwd });
    const [line] = (await once(createInterface({ input: child.stderr }), "line")) as [string];
    expect(line).toContain(`sallyport: cannot listen on 127.0.0.1:${port}: something listens there already.`);
    if (child.exitCode === null) await once(child, "exit");
    expect(child.exitCode).toBe(1);
    server.close();
  });
});
