// A sandbox as the running proxy knows it: registered there, moved, locked down, and with what was granted to it.

import type * as z from "zod";

import type { GRANT, LOCKDOWN, SANDBOX } from "../admin/schemas.ts";
import { compileGrants } from "../policy/compile.ts";
import type { Phase, RuleRef, Standing } from "../policy/types.ts";
import type { ApiClient } from "./api-client.ts";
import { CliError, EXIT } from "./errors.ts";

export type Registered = {
  readonly policy: string;
  readonly standing: Standing;
};

type Sandbox = z.output<typeof SANDBOX>;
type Items<Schema extends z.ZodType> = { readonly items: readonly z.output<Schema>[] };

export async function registered(api: ApiClient, id: string, phase: Phase | undefined): Promise<Registered> {
  const sandbox = await api.call<Sandbox>("GET", `/v1/sandboxes/${encodeURIComponent(id)}`);
  if (sandbox.state === "ended")
    throw new CliError(
      `credentials-wrong: ${id} has ended (${String(sandbox.ended_because)}), so it is answered 407.`,
      EXIT.denied,
    );
  const { items } = await api.call<Items<typeof LOCKDOWN>>("GET", "/v1/lockdowns");
  const grants = await api.all<z.output<typeof GRANT>>("/v1/grants");
  return {
    policy: sandbox.policy[phase ?? sandbox.phase],
    standing: {
      lockdown: lockdownOf(items, id),
      grants: compileGrants(
        grants
          .filter((grant) => grant.sandbox === null || grant.sandbox === id)
          .map(({ ports, paths, owner, expires_at, ...grant }) => ({
            ...grant,
            ...(ports !== null && { ports }),
            ...(paths !== null && { paths }),
            source: `grant of ${owner}`,
            expires: Date.parse(expires_at),
          })),
      ),
    },
  };
}

function lockdownOf(all: Items<typeof LOCKDOWN>["items"], id: string): RuleRef | undefined {
  const found = all.find(({ sandbox }) => sandbox === id || sandbox === "*");
  return found && { id: "lockdown", source: `lockdown by ${found.ordered_by}`, reason: found.reason };
}
