// The first process inside the wall: brings up the loopback, hides what could lead round it, passes connections on to the proxy's
// socket, and runs the command without any of the rights that it has itself. It ends with the command, or with its parent.

import { execFileSync, spawn } from "node:child_process";
import { statSync } from "node:fs";
import { Socket } from "node:net";
import { createInterface } from "node:readline";
import { openBridge } from "./bridge.ts";
import { endOf, type Inside, owner } from "./wall.ts";

/** Resolves with the exit code of the command. */
export async function runInside(inside: Inside): Promise<number> {
  execFileSync("ip", ["link", "set", "lo", "up"], { stdio: ["ignore", "ignore", "inherit"] });
  for (const path of inside.hidden) hide(path);
  const { socket: path, port, uid, gid, command } = inside;
  await openBridge({ host: "127.0.0.1", port, backlog: 512 }, { path });
  const child = spawn("unshare", [...owner(uid, gid), "--", ...command], { stdio: "inherit" });
  // From the terminal they reach the command, too, and it decides.
  for (const name of ["SIGINT", "SIGQUIT", "SIGHUP"] as const) process.on(name, () => {});
  const orders = createInterface({ input: new Socket({ fd: 3, readable: true }) });
  orders.on("line", (name) => void child.kill(name as NodeJS.Signals));
  // Whoever gave them is gone, and with it the proxy.
  orders.on("close", () => void child.kill("SIGKILL"));
  return endOf(child);
}

/** Nothing stands in its place: an empty directory, or no file's content. */
function hide(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  const what = found.isDirectory() ? ["-t", "tmpfs", "-o", "ro,size=4k", "tmpfs"] : ["--bind", "/dev/null"];
  execFileSync("mount", [...what, path]);
}
