// The requirements as the registry asks for them: by what holds now, at each call.

import type { Current } from "../config/reloader.ts";
import { excessOf, excessOfException } from "../policy/exceed.ts";
import type { Above } from "../registry/above.ts";

export type Held = Pick<Current, "policies" | "requirements">;

export function aboveOf(held: () => Held): Above {
  return {
    registration({ policies: { setup, agent } }) {
      const { policies, requirements } = held();
      return policies
        .filter(({ name }) => name === setup || name === agent)
        .flatMap((policy) =>
          excessOf(policy, requirements).map(({ message }) => `policy ${policy.name}: ${message}`),
        )[0];
    },
    grant: ({ host, methods, ttl: ms }, { role }) =>
      excessOfException({ host, methods, ms, role }, held().requirements),
    approval: ({ host, method }, { scope }, { role }) =>
      excessOfException({ host, methods: [method], always: scope === "always", role }, held().requirements),
    longestMs() {
      const all = held().requirements.flatMap(({ grants }) => grants.longestMs?.value ?? []);
      return all.length === 0 ? undefined : Math.min(...all);
    },
  };
}
