// Puts the policy's secrets into a request on its way out, and masks them in what comes back. Only where the verdict was to
// allow, over verified TLS, to the very hosts that the policy names; never in what is recorded.

import type { HeaderPairs } from "../net/headers.ts";
import type { BodySink, BodySource } from "../net/message.ts";
import type { SecretUse } from "../policy/types.ts";

/** A field that carries a secret, as it leaves. */
export type Injection = { readonly name: string; readonly value: string; readonly forms: readonly string[] };

export function injectionOf({ as, value }: SecretUse): Injection {
  const secret = value.reveal();
  const forms = [secret, ...base64(secret), encodeURIComponent(secret)];
  if (as === "bearer") return { name: "Authorization", value: `Bearer ${secret}`, forms };
  if (as !== "basic") return { name: as.header, value: secret, forms };
  const pair = Buffer.from(secret.includes(":") ? secret : `x-access-token:${secret}`).toString("base64");
  const password = secret.slice(secret.indexOf(":") + 1);
  return {
    name: "Authorization",
    value: `Basic ${pair}`,
    forms: [pair, ...forms, password, ...base64(password), encodeURIComponent(password)],
  };
}

/** The sandbox's own field of that name gives way, in any spelling of it: an origin never has two to choose from. */
export function injected(headers: HeaderPairs, injections: readonly Injection[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < headers.length; at += 2)
    if (!injections.some(({ name }) => bare(headers[at]!) === bare(name)))
      kept.push(headers[at]!, headers[at + 1]!);
  return [...kept, ...injections.flatMap(({ name, value }) => [name, value])];
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

/** Padding is left out: what stands before it is the secret. */
function base64(text: string): string[] {
  const bytes = Buffer.from(text);
  return [bytes.toString("base64").replace(/=+$/, ""), bytes.toString("base64url")];
}

function lowerEscapes(text: string): string {
  return text.replaceAll(/%[0-9A-F]{2}/g, (escape) => escape.toLowerCase());
}

const MASK = "[secret]";
