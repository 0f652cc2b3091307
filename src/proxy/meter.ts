// What one exchange draws on budgets: once as it begins, and with every octet that passes. Nothing is asked of a name server or
// sent anywhere before it has begun.

import type { Owner } from "../policy/budgets.ts";
import type { Budget, BudgetName } from "../policy/types.ts";
import { ProxyFault } from "../net/fault.ts";
import type { Host } from "../net/host.ts";
import type { UpstreamRequest } from "../upstream/engine.ts";
import { Gate } from "./gate.ts";
import type { HostPlaces, Places } from "./places.ts";
import type { Purse, Short } from "./purse.ts";
import type { Purses, Used } from "./purses.ts";

type Uses = {
  readonly purses: Readonly<Record<"upload" | "download" | "requests", readonly Used<Purse>[]>>;
  readonly places: readonly Used<Places>[];
  readonly hosts: readonly Used<HostPlaces>[];
};

export class Meter {
  readonly up: Gate;
  readonly down: Gate;
  /** Why it was refused, or cut. */
  short: Short | undefined;
  readonly #purses: Purses;
  readonly #cut: (short: Short) => void;
  readonly #entered: Places[] = [];
  #uses: Uses;
  /** Of the request's head. */
  #octets = 0;
  #ended = false;

  constructor(purses: Purses, of: { owner: Owner; budgets: readonly Budget[] }, cut: (short: Short) => void) {
    this.#purses = purses;
    this.#cut = (short) => {
      this.short ??= short;
      cut(short);
    };
    this.up = new Gate(this.#cut);
    this.down = new Gate(this.#cut);
    this.#uses = this.#use(of.owner, of.budgets);
  }

  /** `octets`: of the request's head. Why it may not begin. */
  async begin(host: Host, octets: number): Promise<Short | undefined> {
    this.#octets = octets;
    this.short = await this.#begin(host, octets);
    if (this.short !== undefined) this.end();
    // Its sandbox may be gone meanwhile; then what it entered is free again.
    else if (this.#ended) this.#leave();
    return this.short;
  }

  async #begin(host: Host, octets: number): Promise<Short | undefined> {
    const { places, hosts, purses } = this.#uses;
    for (const { it } of places) {
      const short = await it.enter(this.#cut);
      if (short !== undefined) return short;
      this.#entered.push(it);
    }
    for (const { it } of hosts) {
      const short = await it.enter(host);
      if (short !== undefined) return short;
    }
    // An answer that could not come back is not asked for; nor is a tunnel opened that nothing may be said in.
    const shut = (await this.down.shut()) ?? (await this.up.shut());
    if (shut !== undefined) return shut;
    const requests = new Gate(this.#cut);
    requests.purses = purses.requests.map(({ it }) => it);
    return (await requests.all(1)) ?? (await this.up.all(octets));
  }

  /** Its body is counted as it passes. */
  outward(request: UpstreamRequest): UpstreamRequest {
    return { ...request, body: this.up.body(request.body) };
  }

  /** The request's head leaves a second time. Rejects where it cannot be paid for. */
  again(): Promise<void> {
    return this.#pay(this.up, this.#octets);
  }

  /** The head of an answer. Rejects where it cannot be paid for: then it is not passed on. */
  answer(octets: number): Promise<void> {
    return this.#pay(this.down, octets);
  }

  async #pay(gate: Gate, octets: number): Promise<void> {
    const short = await gate.all(octets);
    if (short === undefined) return;
    this.#cut(short);
    throw new ProxyFault(short.reason);
  }

  /** By another policy, or other limits, from now on; what it entered stays entered. */
  follow(owner: Owner, budgets: readonly Budget[]): void {
    if (this.#ended) return;
    const before = this.#uses;
    this.#uses = this.#use(owner, budgets);
    this.#release(before);
  }

  /** Safe to call again. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#leave();
    this.#release(this.#uses);
  }

  #leave(): void {
    for (const places of this.#entered.splice(0)) places.leave(this.#cut);
  }

  #use(owner: Owner, budgets: readonly Budget[]): Uses {
    const of = (name: BudgetName): readonly Budget[] => budgets.filter((budget) => budget.name === name);
    const purses = (name: BudgetName): Used<Purse>[] =>
      of(name).map((budget) => this.#purses.purse(owner, budget));
    const upload = purses("upload");
    const download = purses("download");
    this.up.purses = upload.map(({ it }) => it);
    this.down.purses = download.map(({ it }) => it);
    return {
      purses: { upload, download, requests: purses("requests") },
      places: of("connections").map((budget) => this.#purses.places(owner, budget)),
      hosts: of("hosts").map((budget) => this.#purses.hosts(owner, budget)),
    };
  }

  #release({ purses, places, hosts }: Uses): void {
    for (const used of [...Object.values(purses).flat(), ...places, ...hosts]) this.#purses.release(used);
  }
}
