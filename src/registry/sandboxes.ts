// Sandboxes over their lives: registered, moved from setup to agent, changed, ended; by somebody, or because it is time. The move
// to agent is one way for all but operators.

import type { Phase } from "../policy/types.ts";
import type { Above } from "./above.ts";
import { act, type Noted } from "./action.ts";
import { BOUNDS, checkId, checkLabels, checkReason, checkSources, checkTtl, invalid } from "./checks.ts";
import { checkUnclaimed } from "./claims.ts";
import { type Declared, type DeclaredSandbox, declaredSandbox, phaseInForce } from "./declared.ts";
import { bodyOf, toBody, type SandboxBody } from "./documents.ts";
import type { Replica } from "./replica.ts";
import { newId, newSecret } from "./secrets.ts";
import {
  type Actor,
  ControlError,
  type Registered,
  type Registration,
  type SandboxChanges,
  type SandboxView,
} from "./types.ts";

export type SandboxesOptions = {
  readonly replica: Replica;
  readonly noted: Noted;
  readonly declared: () => Declared;
  readonly above: Above["registration"];
  /** Milliseconds since the epoch. */
  readonly now: () => number;
};

export class Sandboxes {
  readonly #options: SandboxesOptions;

  constructor(options: SandboxesOptions) {
    this.#options = options;
  }

  all(): SandboxView[] {
    const { replica, declared } = this.#options;
    const files = declared().sandboxes;
    const named = new Set(files.map(({ id }) => id));
    const registered = [...replica.all("sandbox")]
      .filter((document) => bodyOf("sandbox", document).origin === "api" && !named.has(document.id))
      .map(({ id }) => this.#viewOf(id))
      .filter((view) => view !== undefined);
    return [...files.flatMap(({ id }) => this.get(id) ?? []), ...registered];
  }

  get(id: string): SandboxView | undefined {
    const file = this.#declared(id);
    if (file === undefined) return this.#viewOf(id);
    const { replica } = this.#options;
    const document = replica.get("sandbox", id);
    return {
      id,
      origin: "file",
      state: "active",
      policies: file.policies,
      phase: phaseInForce(file, document && bodyOf("sandbox", document)),
      agentAt: undefined,
      expires: undefined,
      labels: {},
      lockdown: this.#lockdown(id),
      createdAt: undefined,
      createdBy: undefined,
      endedAt: undefined,
      endedBecause: undefined,
      version: document?.version ?? 0,
    };
  }

  async register(actor: Actor, registration: Registration): Promise<Registered> {
    const { replica, noted, now } = this.#options;
    const { id = newId("sandbox"), policies, phase, ttl, setupFor, labels, sources = [] } = registration;
    checkId(id);
    checkLabels(labels);
    checkSources(sources);
    checkTtl("the time to live", ttl);
    checkTtl("the time for setup", setupFor);
    if (setupFor !== undefined && phase !== "setup") invalid("only a sandbox in setup has a time for it");
    this.#checkPolicies(policies);
    if (replica.count("sandbox") >= BOUNDS.sandboxes)
      throw new ControlError("unavailable", `there are ${BOUNDS.sandboxes} sandboxes already; end some`);
    if (this.get(id) !== undefined) throw taken(id);
    checkUnclaimed(replica, this.#options.declared(), sources);
    const { secret, digest } = newSecret("sps");
    const at = now();
    const body: SandboxBody = {
      origin: "api",
      state: "active",
      policies,
      phase,
      agentAt: setupFor === undefined ? undefined : at + setupFor,
      expires: ttl === undefined ? undefined : at + ttl,
      labels,
      sources,
      digest,
      owner: actor.name,
      createdAt: at,
    };
    const details = { policy: policies[phase], phase, ...labelled(labels) };
    await act(noted, actor, { action: "sandbox.register", object: id, details }, async () => {
      const written = await replica.write([{ kind: "sandbox", id, body: toBody(body), version: 0 }]);
      if (!written.ok) throw taken(id);
    });
    return { sandbox: this.#present(id), secret };
  }

  async update(actor: Actor, id: string, changes: SandboxChanges): Promise<SandboxView> {
    const { noted, now } = this.#options;
    const { policies, labels, ttl, version } = changes;
    if (labels !== undefined) checkLabels(labels);
    if (policies !== undefined) this.#checkPolicies(policies);
    checkTtl("the time to live", ttl);
    this.#registeredFor(actor, id);
    const details = { setup: policies?.setup, agent: policies?.agent, ttl, ...labelled(labels ?? {}) };
    await act(noted, actor, { action: "sandbox.update", object: id, details }, () =>
      this.#change(id, version, (body) => ({
        ...body,
        policies: policies ?? body.policies,
        labels: labels ?? body.labels,
        expires: ttl === undefined ? body.expires : now() + ttl,
      })),
    );
    return this.#present(id);
  }

  async move(actor: Actor, id: string, phase: Phase): Promise<SandboxView> {
    const { noted } = this.#options;
    const view = this.#touchable(actor, id);
    if (view.phase === phase) return view;
    const back = phase === "setup";
    if (back && actor.role !== "operator" && actor.role !== "admin")
      throw new ControlError("conflict", "the move to agent is one way: only an operator resets it to setup");
    const action = back ? "sandbox.reset" : "sandbox.move";
    await act(noted, actor, { action, object: id, details: { from_phase: view.phase, phase } }, () =>
      this.#moveTo(id, phase, actor),
    );
    return this.#present(id);
  }

  async end(actor: Actor, id: string, because: string): Promise<SandboxView> {
    const { noted, now, replica } = this.#options;
    checkReason(because);
    this.#registeredFor(actor, id);
    await act(noted, actor, { action: "sandbox.end", object: id, details: { because } }, async () => {
      await this.#change(id, undefined, (body) => ({
        ...body,
        state: "ended",
        endedAt: now(),
        endedBecause: because,
      }));
      // What was granted to it ends with it: a later one of that name is another.
      const granted = [...replica.all("grant")].filter(({ body }) => body["sandbox"] === id);
      for (const grant of granted) await replica.update("grant", grant.id, () => undefined);
    });
    return this.#present(id);
  }

  /** What time brings about for this one, and when it is to be looked at next; `undefined`: never. */
  dueOf(
    id: string,
    at: number,
  ): { readonly due: "end" | "agent" | "forget" | undefined; readonly next: number | undefined } {
    const document = this.#options.replica.get("sandbox", id);
    if (document === undefined) return { due: undefined, next: undefined };
    const { origin, state, phase, agentAt, expires, endedAt = 0 } = bodyOf("sandbox", document);
    if (origin === "file") return { due: undefined, next: undefined };
    if (state === "ended") {
      const next = endedAt + KEPT_MS;
      return { due: next <= at ? "forget" : undefined, next };
    }
    if (expires !== undefined && expires <= at) return { due: "end", next: undefined };
    const moves = phase === "setup" ? agentAt : undefined;
    if (moves !== undefined && moves <= at) return { due: "agent", next: expires };
    return { due: undefined, next: earlier(expires, moves) };
  }

  async forget(id: string): Promise<void> {
    const { replica } = this.#options;
    await replica.update("sandbox", id, () => undefined);
    await replica.update("lockdown", id, () => undefined);
  }

  async #moveTo(id: string, phase: Phase, actor: Actor): Promise<void> {
    const { replica, now } = this.#options;
    const file = this.#declared(id);
    if (file === undefined) {
      await this.#change(id, undefined, (body) => ({ ...body, phase, agentAt: undefined }));
      return;
    }
    const body: SandboxBody = {
      origin: "file",
      state: "active",
      policies: file.policies,
      phase,
      declared: file.phase,
      labels: {},
      sources: [],
      digest: "",
      owner: actor.name,
      createdAt: now(),
    };
    await replica.update("sandbox", id, () => toBody(body));
  }

  async #change(
    id: string,
    version: number | undefined,
    change: (body: SandboxBody) => SandboxBody,
  ): Promise<void> {
    await this.#options.replica.update("sandbox", id, (document) => {
      if (document === undefined) throw unknown(id);
      const body = bodyOf("sandbox", document);
      if (body.state === "ended") throw ended(id);
      if (version !== undefined && version !== document.version)
        throw new ControlError("conflict", `sandbox ${id} was changed by somebody else: read it again`);
      return toBody(change(body));
    });
  }

  #touchable(actor: Actor, id: string): SandboxView {
    const view = this.get(id);
    // A runtime is not told of others' sandboxes.
    if (view === undefined || (actor.role === "runtime" && view.createdBy !== actor.name)) throw unknown(id);
    if (view.state === "ended") throw ended(id);
    return view;
  }

  #registeredFor(actor: Actor, id: string): void {
    if (this.#touchable(actor, id).origin === "file")
      throw new ControlError("conflict", `the operator's file declares sandbox ${id}: change it there`);
  }

  #checkPolicies(policies: Registration["policies"]): void {
    const { declared, above } = this.#options;
    const known = declared().policies;
    for (const name of [policies.setup, policies.agent])
      if (!known.includes(name))
        invalid(`there is no policy ${JSON.stringify(name)}: the file names ${known.join(", ")}`);
    const why = above({ policies });
    if (why !== undefined) throw new ControlError("above-requirements", why);
  }

  #declared(id: string): DeclaredSandbox | undefined {
    return declaredSandbox(this.#options.declared(), id);
  }

  #lockdown(id: string): string | undefined {
    const { replica } = this.#options;
    const document = replica.get("lockdown", "*") ?? replica.get("lockdown", id);
    return document && bodyOf("lockdown", document).reason;
  }

  #present(id: string): SandboxView {
    const view = this.get(id);
    if (view === undefined) throw unknown(id);
    return view;
  }

  #viewOf(id: string): SandboxView | undefined {
    const document = this.#options.replica.get("sandbox", id);
    if (document === undefined) return undefined;
    const body = bodyOf("sandbox", document);
    if (body.origin === "file") return undefined;
    const { state, policies, phase, agentAt, expires, labels, owner, createdAt, endedAt, endedBecause } =
      body;
    const { version } = document;
    const lockdown = this.#lockdown(id);
    const life = { createdAt, createdBy: owner, endedAt, endedBecause, version };
    return { id, origin: "api", state, policies, phase, agentAt, expires, labels, lockdown, ...life };
  }
}

function labelled(labels: Registration["labels"]): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [`label.${name}`, value]));
}

function earlier(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}

function unknown(id: string): ControlError {
  return new ControlError("not-found", `there is no sandbox ${JSON.stringify(id)}`);
}

function ended(id: string): ControlError {
  return new ControlError("conflict", `sandbox ${id} has ended`);
}

function taken(id: string): ControlError {
  return new ControlError("conflict", `there is, or was, a sandbox ${id}: take another id`);
}

/** How long an ended one is still told of, and its id not given to another. */
const KEPT_MS = 7 * 86_400_000;
