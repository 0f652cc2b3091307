// Where this proxy listens, as its listeners come: nothing may be dialed there (invariant 8).

import type { Parts } from "../proxy/parts.ts";
import { createOwnAddresses } from "../upstream/own-addresses.ts";

type Address = { readonly address: string; readonly port: number };

export class OwnAddresses {
  readonly #listeners: Address[];
  #own: ReturnType<typeof createOwnAddresses>;

  /** `known`: those of other processes. */
  constructor(known: readonly Address[] = []) {
    this.#listeners = [...known];
    this.#own = createOwnAddresses({ listeners: this.#listeners });
  }

  get current(): ReturnType<Parts["own"]> {
    return this.#own();
  }

  readonly add = (address: string, port: number): void => {
    this.#listeners.push({ address, port });
    this.#own = createOwnAddresses({ listeners: this.#listeners });
  };
}
