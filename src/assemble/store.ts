// Opens the store that the configuration names. A database across a network is verified by the system's trust anchors and the
// bundled ones, or by those of its own file; one that is not verified is said to be so at every start.

import type { Config } from "../config/types.ts";
import { parsePostgresUrl } from "../net/postgres-url.ts";
import { openPostgres } from "../store/postgres.ts";
import { openSqlite } from "../store/sqlite.ts";
import type { Store } from "../store/types.ts";
import type { Log } from "../telemetry/log.ts";
import { readTrust } from "../upstream/trust.ts";

/** Rejects with `StoreUnavailable`; a database that is not there yet is waited for first. */
export async function openStore(store: Config["store"], log: Log): Promise<Store> {
  if (store.kind === "sqlite") return openSqlite(store.file);
  const address = parsePostgresUrl(store.url.reveal());
  if ("problem" in address) throw new Error(`store: ${address.problem}`);
  if (address.exposed) log.warn("the store's database is reached without TLS, as its URL says");
  const { tls } = address;
  const anchors =
    tls !== undefined && tls.anchors === undefined ? readTrust({ trust: ["system", "bundled"] }).anchors : [];
  return openPostgres({ address, anchors, log });
}
