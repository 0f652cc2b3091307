// Puts the policy's secrets into a request on its way out, and masks them in what comes back. Only where the verdict was to
// allow, over verified TLS, to the very hosts that the policy names; never in what is recorded.

import { ProxyFault } from "../net/fault.ts";
import type { HeaderPairs } from "../net/headers.ts";
import type { BodySink, BodySource } from "../net/message.ts";
import type { Snapshot } from "../policy/compile.ts";
import { secretsFor } from "../policy/secrets.ts";
import type { SecretUse } from "../policy/types.ts";
import type { UpstreamRequest } from "../upstream/engine.ts";
import type { Inquiry } from "./inquiry.ts";

/** One secret, made ready for the place that it goes to. */
export type Injection = {
  /** The secret's name, which may be told. */
  readonly name: string;
  readonly at: { readonly header: string } | { readonly query: string };
  readonly value: string;
  /** What it looks like wherever somebody repeats it. */
  readonly forms: readonly string[];
};

/** `undefined`: the policy has none for this host; most have none at all. Whatever was decided, none goes out without TLS. */
export function injectionsFor(
  snapshot: Snapshot,
  policy: string,
  { scheme, target }: Pick<Inquiry, "scheme" | "target">,
): readonly Injection[] | undefined {
  const secrets = secretsFor(snapshot, policy, target.host);
  if (secrets !== undefined && scheme !== "https") throw new ProxyFault("secret-needs-tls");
  return secrets?.map(injectionOf);
}

/** The sandbox's own field or parameter of that name gives way, in any spelling: an origin never has two to choose from. */
export function injected(request: UpstreamRequest, injections: readonly Injection[]): UpstreamRequest {
  const { headers, target } = request;
  const fields = new Map<string, string>();
  const parameters = new Map<string, string>();
  for (const { at, value } of injections)
    if ("header" in at) fields.set(at.header, value);
    else parameters.set(at.query, value);
  return {
    ...request,
    headers: fields.size === 0 ? headers : withFields(headers, fields),
    target: parameters.size === 0 ? target : withParameters(target, parameters),
    sensitive: [...fields.keys()].map((name) => name.toLowerCase()),
  };
}

function withFields(headers: HeaderPairs, fields: ReadonlyMap<string, string>): string[] {
  const taken = new Set([...fields.keys()].map(bare));
  const kept: string[] = [];
  for (let at = 0; at < headers.length; at += 2)
    if (!taken.has(bare(headers[at]!))) kept.push(headers[at]!, headers[at + 1]!);
  return [...kept, ...[...fields].flat()];
}

function withParameters(target: string, parameters: ReadonlyMap<string, string>): string {
  const mark = target.indexOf("?");
  const [path, query] = mark < 0 ? [target, ""] : [target.slice(0, mark), target.slice(mark + 1)];
  const taken = new Set([...parameters.keys()].map((name) => name.toLowerCase()));
  // Some origins take `;` for `&`.
  const kept = query.split("&").filter((one) => !one.split(";").some((part) => taken.has(nameOf(part))));
  const own = [...parameters].map(([name, value]) => `${name}=${value}`);
  return `${path}?${[...kept.filter((one) => one !== ""), ...own].join("&")}`;
}

/** As an origin would read it: `+` and what is percent-encoded decoded, however often, and without brackets behind it. */
function nameOf(parameter: string): string {
  let name = (parameter.split("=", 1)[0] ?? "").replaceAll("+", " ");
  for (let last = ""; last !== name;) {
    last = name;
    name = name.replaceAll(/%([0-9a-f]{2})/gi, (_, octet: string) =>
      String.fromCharCode(Number.parseInt(octet, 16)),
    );
  }
  return name.replace(/\[.*/s, "").trim().toLowerCase();
}

function injectionOf(secret: SecretUse): Injection {
  const known = MADE.get(secret);
  if (known !== undefined) return known;
  const made = make(secret);
  MADE.set(secret, made);
  return made;
}

function make({ name, as, value }: SecretUse): Injection {
  const secret = value.reveal();
  const forms = formsOf(secret);
  if (as === "bearer") return { name, at: AUTHORIZATION, value: `Bearer ${secret}`, forms };
  if (as === "basic") {
    const pair = Buffer.from(secret.includes(":") ? secret : `x-access-token:${secret}`).toString("base64");
    const password = secret.slice(secret.indexOf(":") + 1);
    return { name, at: AUTHORIZATION, value: `Basic ${pair}`, forms: [pair, ...forms, ...formsOf(password)] };
  }
  return { name, at: as, value: "header" in as ? secret : encodeURIComponent(secret), forms };
}

function formsOf(secret: string): string[] {
  return [secret, ...base64(secret), encodeURIComponent(secret)];
}

export function maskedText(text: string, injections: readonly Injection[]): string {
  let masked = text;
  for (const { forms } of injections)
    for (const form of forms) {
      masked = masked.replaceAll(form, MASK);
      // What is percent-encoded may be so in either case.
      if (form.includes("%")) masked = masked.replaceAll(lowerEscapes(form), MASK);
    }
  return masked;
}

export function maskedFields(headers: HeaderPairs, injections: readonly Injection[]): string[] {
  return headers.map((text) => maskedText(text, injections));
}

/** The body as it is; its trailers masked. */
export function maskedTrailers(body: BodySource, injections: readonly Injection[]): BodySource {
  return {
    length: body.length,
    stop: () => body.stop(),
    pipe: (sink) => body.pipe(new MaskingSink(sink, injections)),
  };
}

class MaskingSink implements BodySink {
  readonly #sink: BodySink;
  readonly #injections: readonly Injection[];

  constructor(sink: BodySink, injections: readonly Injection[]) {
    this.#sink = sink;
    this.#injections = injections;
  }

  get onDrain(): (() => void) | undefined {
    return this.#sink.onDrain;
  }

  set onDrain(resume: (() => void) | undefined) {
    this.#sink.onDrain = resume;
  }

  write(chunk: Buffer): boolean {
    return this.#sink.write(chunk);
  }

  end(trailers: HeaderPairs): void {
    this.#sink.end(maskedFields(trailers, this.#injections));
  }

  abort(...reason: Parameters<BodySink["abort"]>): void {
    this.#sink.abort(...reason);
  }
}

/** Some origins read `X_Api_Key` as `X-Api-Key`. */
function bare(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
}

/** By itself, less its padding, and as it stands in the middle of more: what of it depends on nothing else. */
function base64(text: string): string[] {
  const bytes = Buffer.from(text);
  const within = [0, 1, 2].map((before) => {
    const shifted = Buffer.concat([Buffer.alloc(before), bytes]);
    const [from, to] = [Math.ceil((before * 4) / 3), Math.floor((shifted.length * 4) / 3)];
    return shifted.toString("base64").slice(from, to);
  });
  const forms = [bytes.toString("base64").replace(/=+$/, ""), ...within];
  return [...forms, ...forms.map((form) => form.replaceAll("+", "-").replaceAll("/", "_"))];
}

function lowerEscapes(text: string): string {
  return text.replaceAll(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase());
}

const MASK = "[secret]";
const AUTHORIZATION = { header: "Authorization" };
/** As long as a policy holds, its secrets are made ready once. */
const MADE = new WeakMap<SecretUse, Injection>();
