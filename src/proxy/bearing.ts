// What an exchange goes by, and what its record says of it: one snapshot, one sandbox, one inquiry. It changes only where the
// exchange was made to wait, and never after its decision.

import type { Subject } from "../audit/types.ts";
import type { Identified, Sandbox } from "../identity/identify.ts";
import { ProxyFault } from "../net/fault.ts";
import type { HeaderPairs } from "../net/headers.ts";
import type { ResponseHead } from "../net/message.ts";
import type { Connection, Draft } from "./connection.ts";
import { inward } from "./forward.ts";
import type { Injection } from "./inject.ts";
import type { Asked } from "./inquiry.ts";
import type { Parts, Published } from "./parts.ts";

export class Bearing {
  readonly subject: Draft<Subject>;
  readonly #parts: Parts;
  readonly #connection: Connection;
  readonly #headers: HeaderPairs;
  #published: Published;
  #who: Identified;
  #asked: Asked | undefined;
  /** Secrets that the request carries and the answer must not show. */
  injections: readonly Injection[] | undefined;

  constructor(parts: Parts, connection: Connection, headers: HeaderPairs) {
    this.#parts = parts;
    this.#connection = connection;
    this.#headers = headers;
    this.#published = parts.published();
    this.#who = this.identify(this.#published);
    this.subject = connection.subject(this.#published, this.#who);
  }

  get published(): Published {
    return this.#published;
  }

  get who(): Identified {
    return this.#who;
  }

  get asked(): Asked | undefined {
    return this.#asked;
  }

  /** Of whom it is known who it is. */
  get sandbox(): Sandbox {
    if (!this.#who.ok) throw new ProxyFault(this.#who.reason);
    return this.#who.sandbox;
  }

  identify(published: Published): Identified {
    return this.#connection.identify(this.#parts, published, this.#headers);
  }

  /** A head of the origin's as the sandbox gets it. */
  inward(head: ResponseHead): ResponseHead {
    return inward(head, this.#parts.pseudonym, this.injections);
  }

  /** What the request asks for is understood. */
  concerns(asked: Asked): void {
    const { target, scheme, path, upgrade } = asked;
    const name = this.#who.ok ? this.#who.sandbox.policy : "";
    const { policy } = this.#published.snapshot.policies.get(name) ?? {};
    const { subject } = this;
    if (upgrade !== undefined) subject.kind = "upgrade";
    subject.scheme = scheme;
    subject.host = target.host;
    subject.port = target.port;
    subject.path = path?.sent;
    subject.query = path?.query;
    subject.keepQuery = policy?.keepQueries ?? false;
    this.#asked = asked;
  }

  /** By what holds now, from now on. */
  renew(): void {
    this.#published = this.#parts.published();
    this.#who = this.identify(this.#published);
    const newest = this.#connection.subject(this.#published, this.#who);
    const { subject } = this;
    subject.sandbox = newest.sandbox;
    subject.labels = newest.labels;
    subject.phase = newest.phase;
    subject.policy = newest.policy;
    subject.generation = newest.generation;
    if (this.#asked !== undefined) this.concerns(this.#asked);
  }
}
