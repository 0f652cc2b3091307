// What is open or under way: entered and left in constant time, gone through now and then. No Set: one that changes all the time leaves
// tables behind, and those that are old by then keep what they held from being collected while it is young (docs/performance.md).

export type Placed = {
  /** Where `Standing` keeps it; nobody else's business. */
  place?: number | undefined;
};

export class Standing<One extends Placed> implements Iterable<One> {
  readonly #all: One[] = [];

  get size(): number {
    return this.#all.length;
  }

  enter(one: One): void {
    one.place = this.#all.push(one) - 1;
  }

  /** Safe to call again, and for what never entered. */
  leave(one: One): void {
    const { place } = one;
    if (place === undefined) return;
    one.place = undefined;
    const last = this.#all.pop();
    if (last === undefined || last === one) return;
    this.#all[place] = last;
    last.place = place;
  }

  /** Those that are there at the start, less those that leave meanwhile: whoever is gone through may end, or end others. */
  *[Symbol.iterator](): Iterator<One> {
    for (const one of this.#all.slice()) if (one.place !== undefined) yield one;
  }
}
