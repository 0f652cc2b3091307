// How a control action is done: recorded before it takes effect, recorded again where it then failed, and told in words that the
// API has statuses for.

import { ProxyFault } from "../net/fault.ts";
import { type Actor, ControlError } from "./types.ts";

export type Noted = (fields: Readonly<Record<string, string | number | boolean>>) => Promise<void>;

export type Act = {
  /** `sandbox.register`, `token.revoke`, … */
  readonly action: string;
  /** Id of what it is done to. */
  readonly object: string;
  /** What else the record says; no secrets. */
  readonly details?: Readonly<Record<string, string | number | boolean | undefined>>;
};

/** Runs `work` once its record is written. */
export async function act<T>(noted: Noted, actor: Actor, about: Act, work: () => Promise<T>): Promise<T> {
  const fields = fieldsOf(actor, about);
  try {
    await noted(fields);
  } catch (cause) {
    if (cause instanceof ProxyFault)
      throw unavailable("the audit log cannot be written, so nothing is changed");
    throw cause;
  }
  try {
    return await work();
  } catch (cause) {
    const error = told(cause);
    // What was ordered did not come about; where even that cannot be recorded, the log itself says that records are lost.
    await noted({ ...fields, failed: error.message }).catch(() => {});
    throw error;
  }
}

function fieldsOf(
  actor: Actor,
  { action, object, details = {} }: Act,
): Record<string, string | number | boolean> {
  const fields: Record<string, string | number | boolean> = {
    action,
    object,
    actor: actor.name,
    role: actor.role,
    from: actor.from,
  };
  for (const [name, value] of Object.entries(details)) if (value !== undefined) fields[name] = value;
  return fields;
}

function told(cause: unknown): Error {
  if (cause instanceof ControlError) return cause;
  if (cause instanceof Error && "code" in cause && cause.code === "STORE_UNAVAILABLE")
    return unavailable("the store cannot be reached; what is known keeps holding, and nothing was changed");
  return cause instanceof Error ? cause : new Error(String(cause));
}

function unavailable(message: string): ControlError {
  return new ControlError("unavailable", message);
}
