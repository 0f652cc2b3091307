// What the store holds, as this process knows it: read once, then followed change by change. Reading asks nobody; writing is
// refused where the store does not answer. Whoever listens hears of a change only after it is here.

import type { Body, Change, Document, Kind, Store, Write, Written } from "../store/types.ts";

export type ReplicaOptions = {
  readonly store: Store;
  /** Told of what kept it from following; it goes on trying. */
  readonly onFault: (error: unknown) => void;
};

export class Replica {
  readonly #store: Store;
  readonly #onFault: (error: unknown) => void;
  readonly #documents = new Map<Kind, Map<string, Document>>();
  readonly #listeners = new Set<(changes: readonly Change[]) => void>();
  #revision = 0;
  #following: Promise<void> | undefined;
  #again = false;
  #stopWatching: () => void = () => {};
  #poll: NodeJS.Timeout | undefined;

  private constructor({ store, onFault }: ReplicaOptions) {
    this.#store = store;
    this.#onFault = onFault;
  }

  /** Rejects with `StoreUnavailable` where there is nothing to begin with. */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const replica = new Replica(options);
    const { store, onFault } = options;
    // Before it is read, so that nothing falls in between.
    replica.#stopWatching = store.watch(() => void replica.follow().catch(onFault));
    await replica.#readAll();
    replica.#poll = setInterval(() => {
      if (!store.healthy()) void replica.follow().catch(onFault);
    }, RETRY_MS).unref();
    return replica;
  }

  get healthy(): boolean {
    return this.#store.healthy();
  }

  get(kind: Kind, id: string): Document | undefined {
    return this.#documents.get(kind)?.get(id);
  }

  all(kind: Kind): IterableIterator<Document> {
    return (this.#documents.get(kind) ?? NONE).values();
  }

  count(kind: Kind): number {
    return this.#documents.get(kind)?.size ?? 0;
  }

  /** After every batch of changes, in order. Returns what ends it. */
  listen(listener: (changes: readonly Change[]) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Resolves once what was written is here, too. */
  async write(writes: readonly Write[]): Promise<Written> {
    const written = await this.#store.write(writes);
    try {
      // Also where somebody else was first: the next try is to see what they wrote.
      await this.follow();
    } catch (error) {
      this.#onFault(error);
      // What was written must hold here too, whatever became of the store since: it may be a lockdown.
      if (written.ok)
        this.#take(
          writes.map((write, at) => changeOf(write, written.versions[at])),
          this.#revision,
        );
    }
    return written;
  }

  /**
   * Changes one document by what it is now, as often as somebody else comes in between, within a bound. `change` gives the new
   * body, `undefined` to remove it, or throws. Resolves with the document as written.
   */
  async update(
    kind: Kind,
    id: string,
    change: (document: Document | undefined) => Body | undefined,
  ): Promise<Document | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const before = this.get(kind, id);
      const body = change(before);
      const version = before?.version ?? 0;
      if (body === undefined && before === undefined) return undefined;
      const written = await this.write([{ kind, id, body, version }]);
      if (written.ok) return body && { kind, id, body, version: version + 1 };
    }
    throw new Error(`${kind} ${id} is changed by others all the time`);
  }

  /** Brings it up to what the store holds now. */
  follow(): Promise<void> {
    if (this.#following !== undefined) {
      this.#again = true;
      return this.#following;
    }
    this.#following = this.#catchUp().finally(() => (this.#following = undefined));
    return this.#following;
  }

  close(): void {
    this.#stopWatching();
    clearInterval(this.#poll);
    this.#listeners.clear();
  }

  async #catchUp(): Promise<void> {
    do {
      this.#again = false;
      const read = await this.#store.changes(this.#revision);
      if (read === undefined) await this.#readAll();
      else this.#take(read.items, read.revision);
    } while (this.#isBehind());
  }

  async #readAll(): Promise<void> {
    const { revision, items } = await this.#store.read();
    const known = new Set(items.map(({ kind, id }) => `${kind} ${id}`));
    const removed = [...this.#documents.values()]
      .flatMap((documents) => [...documents.values()])
      .filter(({ kind, id }) => !known.has(`${kind} ${id}`))
      .map(({ kind, id }): Change => ({ kind, id, removed: true }));
    this.#take([...removed, ...items], revision);
  }

  #take(changes: readonly Change[], revision: number): void {
    this.#revision = revision;
    if (changes.length === 0) return;
    for (const change of changes) {
      const documents = this.#documents.get(change.kind) ?? new Map<string, Document>();
      this.#documents.set(change.kind, documents);
      if ("removed" in change) documents.delete(change.id);
      else documents.set(change.id, change);
    }
    for (const listener of this.#listeners) listener(changes);
  }

  // A call, because the type checker takes a checked property for constant.
  #isBehind(): boolean {
    return this.#again;
  }
}

function changeOf({ kind, id, body }: Write, version = 1): Change {
  return body === undefined ? { kind, id, removed: true } : { kind, id, version, body };
}

const NONE: ReadonlyMap<string, Document> = new Map();
const MAX_TRIES = 8;
const RETRY_MS = 500;
