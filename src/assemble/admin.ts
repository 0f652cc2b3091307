// Opens the admin listener over what it shows and changes: the same where one process does everything and where a primary does.

import { mkdirSync } from "node:fs";
import type { Server } from "node:net";
import { dirname } from "node:path";
import { type Admin, type AdminOptions, startAdmin } from "../admin/server.ts";
import { createApi } from "../admin/api.ts";
import { createCallers } from "../admin/caller.ts";
import type { SandboxKit } from "../admin/kit.ts";
import type { AuditLog } from "../audit/log.ts";
import type { Config } from "../config/types.ts";
import { fileContents, type Material, sandboxFiles } from "../environment/files.ts";
import { proxyUrlOf, proxyUrlWith, sandboxEnvironment } from "../environment/variables.ts";
import { createGuessLimiter } from "../identity/guess-limiter.ts";
import { bindUnix, removeDeserted } from "../proxy/unix-socket.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { trustMaterial } from "../tls/bundle.ts";
import type { Issuer } from "../tls/trust-anchor.ts";
import type { ControlPart } from "./control.ts";
import { asError } from "./reports.ts";

export type AdminParts = Pick<AdminOptions, "readiness"> & {
  readonly config: Config;
  readonly metrics: Metrics;
  readonly exposition: () => Promise<string>;
  readonly control: ControlPart;
  readonly audit: AuditLog;
  readonly log: Log;
  readonly issuer: Issuer;
  readonly version: string;
  /** Where sandboxes connect, once they can. */
  readonly listening: () => readonly { readonly address: string; readonly port: number }[];
};

export async function openAdmin(parts: AdminParts): Promise<Admin | undefined> {
  const { config, metrics, exposition, readiness, log, audit, version } = parts;
  const { control } = parts.control;
  if (config.admin === false) return undefined;
  const { host, port, socket, hosts, open } = config.admin;
  if (socket === undefined)
    log.warn("there is no socket for this machine's commands: its path is too long; see `admin.socket`");
  const onFault = (error: unknown): void => log.error("the admin listener failed", { error: asError(error) });
  const callers = createCallers({
    authenticate: control.authenticate,
    guesses: createGuessLimiter(),
    now: Date.now,
  });
  const api = createApi({
    control,
    kit: kitOf(parts),
    callers,
    version,
    on: {
      request: (outcome) => metrics.apiRequest(outcome),
      // Where it cannot be written the log says so; the asker is refused all the same.
      forbidden: ({ name: actor, role, from }, object) =>
        void audit.noted("control", { action: "api.forbidden", object, actor, role, from }).catch(() => {}),
      fault: onFault,
    },
  });
  return startAdmin({
    listen: { host, port },
    hosts,
    open,
    metrics: { contentType: metrics.contentType, exposition },
    readiness,
    api,
    callers,
    socket: socket === undefined ? undefined : (server) => bound(server, socket),
    onFault,
  });
}

async function bound(server: Server, path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  await removeDeserted(path);
  await bindUnix(server, { path, mode: 0o600 });
}

function kitOf({ config, issuer, listening }: AdminParts): SandboxKit {
  let made: Material | undefined;
  // The system's roots are many, and are read once.
  const material = (): Material => (made ??= trustMaterial(issuer.anchorPem));
  return {
    ca: () => issuer.anchorPem,
    proxyUrl() {
      const first = listening()[config.listen.findIndex(({ sandbox }) => sandbox === undefined)];
      return proxyUrlOf({ host: first?.address ?? "127.0.0.1", port: first?.port ?? 3128 });
    },
    environment: ({ proxyUrl, id, secret, seenAs }) =>
      sandboxEnvironment({
        proxyUrl: proxyUrlWith(proxyUrl, { id, secret }),
        files: sandboxFiles(seenAs, material().truststorePassword),
      }),
    files: (seenAs) => fileContents(seenAs, material()),
  };
}
