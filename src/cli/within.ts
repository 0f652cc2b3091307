// Runs one command as a sandbox of a proxy, behind the wall or without it, and ends the sandbox with it. The command gets what it trusts and
// the variables that lead to the proxy, and none of what leads elsewhere.

import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join, relative } from "node:path";

import type { Context } from "./context.ts";
import { CliError } from "./errors.ts";

/** A proxy, to which one command is a sandbox. */
export type ExecProxy = {
  readonly host: string;
  readonly port: number;
  /** Writes what the command trusts into `trust`; it reaches the proxy at `proxy`. */
  register(at: { readonly proxy: string; readonly trust: string }): Promise<ExecSandbox>;
};

export type ExecSandbox = {
  readonly id: string;
  readonly environment: Readonly<Record<string, string>>;
  end(): Promise<unknown>;
};

export type Within = {
  readonly command: readonly string[];
  readonly wall: boolean;
  readonly hidden: readonly string[];
  /** Variables that are the proxy's alone. */
  readonly secret: readonly string[];
  readonly proxy: ExecProxy;
};

export async function runWithin(
  context: Context,
  { command, wall, hidden, secret, proxy }: Within,
  after: (id: string) => Promise<void> = async () => {},
): Promise<number> {
  const { openBridge } = await import("../exec/bridge.ts");
  const { startUnwalled, startWalled } = await import("../exec/wall.ts");
  const covers = hidden.find((path) => !relative(path, context.cwd).startsWith(".."));
  if (wall && covers !== undefined)
    throw new CliError(
      `${covers} is hidden from the command, and this directory is in it: run it elsewhere, or move \`certs\`.`,
    );
  const { host, port } = proxy;
  const temporary = realpathSync(mkdtempSync(join(tmpdir(), "sallyport-exec-")));
  try {
    const inner = `http://127.0.0.1:${wall ? INNER_PORT : port}`;
    const sandbox = await proxy.register({ proxy: inner, trust: join(temporary, "trust") });
    const env = { ...without(context.env, secret), ...sandbox.environment };
    const socket = join(temporary, "proxy.sock");
    const bridge = await openBridge({ path: socket }, { host, port });
    const { uid, gid } = userInfo();
    const started = wall
      ? startWalled({ socket, port: INNER_PORT, uid, gid, hidden, command }, env)
      : startUnwalled(command, env);
    // Of the terminal's signals the command is told by the terminal.
    const ignore = (): void => {};
    const pass = (name: NodeJS.Signals): void => started.signal(name);
    for (const name of ["SIGINT", "SIGQUIT"] as const) process.on(name, ignore);
    for (const name of ["SIGTERM", "SIGHUP"] as const) process.on(name, pass);
    try {
      return await started.ended;
    } finally {
      for (const name of ["SIGINT", "SIGQUIT"] as const) process.off(name, ignore);
      for (const name of ["SIGTERM", "SIGHUP"] as const) process.off(name, pass);
      await sandbox.end();
      await bridge.close();
      await after(sandbox.id);
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Sockets of other programs are no network, and lead out all the same; the proxy's secrets are no sandbox's to hold. */
function without(env: Context["env"], secret: readonly string[]): Record<string, string> {
  const kept = Object.entries(env).filter(
    (pair): pair is [string, string] =>
      pair[1] !== undefined && !LEADS_OUT.has(pair[0]) && !secret.includes(pair[0]),
  );
  return Object.fromEntries(kept);
}

/** Where other programs' sockets are. */
export const SOCKETS = ["/run", "/var/run", "/tmp/.X11-unix"];
const LEADS_OUT = new Set([
  "DBUS_SESSION_BUS_ADDRESS",
  "DISPLAY",
  "DOCKER_HOST",
  "SALLYPORT_ADMIN",
  "SALLYPORT_TOKEN",
  "SSH_AUTH_SOCK",
  "WAYLAND_DISPLAY",
  "XDG_RUNTIME_DIR",
]);
const INNER_PORT = 3128;
