// A proxy that runs already, for `sallyport exec`: its API registers the command and ends it. Nothing here may hand the command what
// would change that proxy: not the token, and not a file that it is run by and that the command's user may change.

import { accessSync, constants, realpathSync, statSync } from "node:fs";
import { connect } from "node:net";
import { dirname, resolve } from "node:path";
import type { Command } from "commander";
import type * as z from "zod";

import type { REFUSALS, REGISTERED } from "../admin/schemas.ts";
import type { Refusal } from "../audit/refusals.ts";
import { apiClient } from "./api-client.ts";
import { fetchFiles } from "./commands/sandbox.ts";
import { type Context, globalOptions } from "./context.ts";
import { CliError, EXIT } from "./errors.ts";
import type { ExecProxy } from "./within.ts";

export type Registration = {
  readonly policy: string;
  readonly phase: string;
  readonly labels: Readonly<Record<string, string>>;
};

export async function runningProxy(
  context: Context,
  self: Command,
  { url, registration }: { readonly url: string; readonly registration: Registration },
): Promise<ExecProxy & { refused(id: string): Promise<readonly Refusal[]> }> {
  const at = URL.parse(url);
  if (at?.protocol !== "http:" || at.hostname === "" || at.username !== "" || at.pathname !== "/")
    throw new CliError(
      `--running is a URL such as http://10.0.0.2:3128, and not ${JSON.stringify(url)}.`,
      EXIT.usage,
    );
  const admin = URL.parse(context.env["SALLYPORT_ADMIN"] ?? "");
  if (admin === null)
    throw new CliError(
      "--running asks that proxy's API: say where with SALLYPORT_ADMIN and SALLYPORT_TOKEN.",
      EXIT.usage,
    );
  await refuseOwnFile(context, { admin, file: globalOptions(self).config });
  const api = await apiClient(context, self);
  return {
    host: at.hostname.replace(/^\[|\]$/g, ""),
    port: Number(at.port || 80),
    async register({ proxy, trust }) {
      const { sandbox, environment } = await api.call<z.output<typeof REGISTERED>>("POST", "/v1/sandboxes", {
        ...registration,
        // Should this process be killed before it can end it.
        ttl: TTL,
        proxy,
        mount_point: trust,
      });
      await fetchFiles(api, trust, trust);
      const { id } = sandbox;
      const end = () =>
        api.call("DELETE", `/v1/sandboxes/${encodeURIComponent(id)}?reason=the+command+has+ended`);
      return { id, environment, end };
    },
    refused: async (id) =>
      (await api.call<z.output<typeof REFUSALS>>("GET", `/v1/sandboxes/${encodeURIComponent(id)}/refusals`))
        .items,
  };
}

/** A running proxy reads its file again when it changes. */
async function refuseOwnFile(
  context: Context,
  { admin, file }: { readonly admin: URL; readonly file: string | undefined },
): Promise<void> {
  if (file === undefined) {
    if (!(await isHere(admin))) return;
    throw new CliError(
      "that proxy is on this machine: say with --config which file it is run by, so that exec can see whether the command might change it.",
    );
  }
  const path = resolve(context.cwd, file);
  if (mayChange(path) || mayChange(realpathSync(path)))
    throw new CliError(
      `${file} is yours to change, and so it would be the command's: run that proxy as another user, from a file of theirs.`,
    );
}

/** Whoever connects to an address of this machine does it from that address. */
function isHere({ hostname, port, protocol }: URL): Promise<boolean> {
  const at = {
    host: hostname.replace(/^\[|\]$/g, ""),
    port: Number(port || (protocol === "https:" ? 443 : 80)),
  };
  return new Promise((resolved, reject) => {
    const socket = connect({ ...at, timeout: LIMIT_MS }, () => {
      resolved(socket.localAddress === socket.remoteAddress);
      socket.destroy();
    });
    socket.on("timeout", () => socket.destroy(new Error("ETIMEDOUT")));
    socket.on("error", ({ message }) =>
      reject(new CliError(`the proxy cannot be asked at ${hostname}: ${message}.`)),
    );
  });
}

/** This user, it or what stands at its path. */
export function mayChange(file: string): boolean {
  const uid = process.getuid?.() ?? 0;
  if (uid === 0 || isOwn(file, uid) || isWritable(file)) return true;
  for (let below = file, path = dirname(file); path !== below; below = path, path = dirname(path)) {
    if (isOwn(path, uid)) return true;
    // In a sticky directory nobody else's file can be put away.
    if (isWritable(path) && (statSync(path).mode & STICKY) === 0) return true;
  }
  return false;
}

const isOwn = (path: string, uid: number): boolean => statSync(path).uid === uid;

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const STICKY = 0o1000;
const TTL = "7d";
const LIMIT_MS = 10_000;
