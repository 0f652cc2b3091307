import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openLogStream } from "../../src/telemetry/log-stream.ts";

const MODULE = JSON.stringify(new URL("../../src/telemetry/log-stream.ts", import.meta.url).href);

/** A process whose standard error is a pipe of ours; `report` tells us something on standard output. */
function run(script: string): ChildProcess {
  const preamble = `import { writeSync } from "node:fs";
    const { openLogStream } = await import(${MODULE});
    const report = (value) => writeSync(1, JSON.stringify(value) + "\\n");
    const stream = openLogStream(2);
    const line = "x".repeat(199) + "\\n";`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", preamble + script], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

test("a pipe that nobody reads stops neither the event loop nor the exit, and memory is bounded", async () => {
  const child = run(`
    process.stderr.isTTY; // Node makes the descriptor block
    let dropped = 0;
    for (let n = 0; n < 20_000; n++) if (!stream.write(line)) dropped++;
    setTimeout(async () => {
      report({ dropped });
      await stream.close();
      process.exit(7);
    }, 50);`);
  const closed = once(child, "exit");
  const [reported] = await once(child.stdout!, "data");
  // 4 MB were written; one is kept, and the pipe holds a little.
  expect(JSON.parse(String(reported)).dropped).toBeGreaterThan(14_000);
  expect(await closed).toEqual([7, null]);
});

test("a pipe that is read gets every line, and close waits for them", async () => {
  const child = run(`
    for (let n = 0; n < 2_000; n++) stream.write(n + " " + line);
    await stream.close();
    process.exit(0);`);
  let text = "";
  child.stderr!.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  await once(child, "close");
  expect(text.split("\n").map((line) => line.split(" ")[0])).toEqual(
    [...Array(2_000).keys()].map(String).concat(""),
  );
});

test("a reader that went away costs lines only", async () => {
  const child = run(`
    let taken = 0;
    const again = setInterval(() => {
      if (stream.write(line)) return void taken++;
      clearInterval(again);
      report({ taken: taken > 0 });
      void stream.close().then(() => process.exit(3));
    }, 1);`);
  child.stderr!.destroy();
  const [reported] = await once(child.stdout!, "data");
  expect(JSON.parse(String(reported))).toEqual({ taken: true });
  if (child.exitCode === null) await once(child, "exit");
  expect(child.exitCode).toBe(3);
});

test("a file is appended to, and takes nothing more once closed", async () => {
  const directory = mkdtempSync(join(tmpdir(), "sallyport-log-"));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "log");
  for (const text of ["one\n", "two\n"]) {
    const stream = openLogStream(openSync(path, "a"));
    expect([stream.isTTY, stream.write(text)]).toEqual([false, true]);
    await stream.close();
    expect(stream.write("late\n")).toBe(false);
    await stream.close();
  }
  expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
});

test("a full device loses lines, not the process", async () => {
  const stream = openLogStream(openSync("/dev/full", "w"));
  for (let n = 0; n < 10; n++) stream.write("x\n");
  await stream.close();
});

test("a descriptor that is not open is an error at once", () => {
  const fd = openSync("/dev/null", "w");
  closeSync(fd);
  expect(() => openLogStream(fd)).toThrow("EBADF");
});
