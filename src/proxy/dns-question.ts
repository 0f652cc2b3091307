// One DNS question: judged by name, recorded, answered. A name that the policy could permit is answered with the addresses
// of the transparent listeners; nothing is asked of anybody, so DNS carries nothing out.

import type { Subject } from "../audit/types.ts";
import type { Identified } from "../identity/identify.ts";
import type { Address } from "../net/address.ts";
import {
  CLASS_IN,
  type DnsAnswer,
  type DnsQuestion,
  type DnsRead,
  type Rcode,
  RCODES,
  TYPES,
  typeName,
  writeAnswer,
  writeFailure,
} from "../net/dns-message.ts";
import { type Reason, REASONS } from "../net/reasons.ts";
import { decide } from "../policy/decide.ts";
import type { Allow, Denial } from "../policy/types.ts";
import type { Connection } from "./connection.ts";
import { Ledger } from "./ledger.ts";
import type { Parts, Published } from "./parts.ts";
import { OWN_ALLOW, OWN_NAME } from "./welcome.ts";

export type Responder = {
  readonly answer: readonly Address[];
  readonly ttlSeconds: number;
  readonly sandbox: string | undefined;
  /** Of the transparent listeners: a name is permitted if it is for one of them. */
  readonly ports: readonly number[];
};

export type Asking = {
  readonly parts: Parts;
  readonly responder: Responder;
  readonly connection: Connection;
  /** Octets that an answer may have. */
  readonly limit: number;
};

type Judged =
  | Pick<Allow, "action" | "rule" | "preset" | "wouldDeny">
  | ({ readonly action: "deny" | "ask" } & Denial);

/** The answer, once its record is written. */
export async function answerQuestion(
  asking: Asking,
  read: Exclude<DnsRead, { readonly state: "ignored" }>,
): Promise<Uint8Array> {
  const { parts, responder, connection, limit } = asking;
  const ledger = new Ledger(parts, "dns");
  const published = parts.published();
  const question = read.state === "question" ? read.question : undefined;
  const who = connection.identifyByPlace(parts, published, responder.sandbox);
  const judged = question === undefined ? deny("dns-malformed") : judge(who, asking, published, question);
  let reason = judged.action !== "allow" ? judged.reason : undefined;
  try {
    await record(connection.subject(published, who), ledger, { question, judged });
  } catch {
    reason = "audit-unavailable";
  }
  const octets =
    read.state === "question"
      ? writeAnswer(read.question, answerOf(read.question, reason, responder), limit)
      : writeFailure(read);
  ledger.complete({ reason, bytesUp: 0, bytesDown: octets.length });
  return octets;
}

function judge(who: Identified, asking: Asking, published: Published, question: DnsQuestion): Judged {
  const { parts, responder } = asking;
  if (question.class !== CLASS_IN || !LOOKUPS.has(question.type)) return deny("dns-type-not-allowed");
  const { host } = question;
  if (host === undefined) return deny("authority-malformed");
  if (host === OWN_NAME) return OWN_ALLOW;
  if (!who.ok) return deny(who.reason);
  const { policy, standing } = who.sandbox;
  const at = parts.now();
  const verdicts = responder.ports.map((port) =>
    decide(published.snapshot, { stage: "connect", policy, standing, at, target: { host, port } }),
  );
  return verdicts.find(({ action }) => action === "allow") ?? verdicts[0] ?? deny("host-not-allowed");
}

async function record(
  known: Subject,
  ledger: Ledger,
  of: { readonly question: DnsQuestion | undefined; readonly judged: Judged },
): Promise<void> {
  const { question, judged } = of;
  const subject = {
    ...known,
    kind: "dns",
    method: question && typeName(question.type),
    host: question && (question.host ?? question.name),
  } as const;
  if (judged.action !== "allow") return ledger.decideAgainst(subject, { ...judged, stage: "connect" });
  const { rule, preset, wouldDeny } = judged;
  await ledger.decide(subject, {
    verdict: "allow",
    stage: "connect",
    reason: undefined,
    rule,
    preset,
    handling: undefined,
    wouldDeny,
    addresses: undefined,
  });
}

function answerOf(question: DnsQuestion, reason: Reason | undefined, responder: Responder): DnsAnswer {
  const { answer: addresses, ttlSeconds } = responder;
  if (reason === undefined) return { rcode: RCODES.ok, addresses, ttlSeconds, error: undefined };
  const code = reason === "dns-type-not-allowed" ? "unsupported" : "blocked";
  return { rcode: rcodeOf(question, reason), addresses: [], ttlSeconds, error: { code, text: reason } };
}

/**
 * A refused look-up of a host, or of an address's name, is told that there is none: musl's resolver does not hear REFUSED
 * and waits, glibc takes it for a fault that may pass. Whatever else is asked is refused in so many words.
 */
function rcodeOf({ type }: DnsQuestion, reason: Reason): Rcode {
  if (REASONS[reason].kind === "fault") return RCODES.failed;
  return LOOKUPS.has(type) || type === TYPES.PTR ? RCODES.noName : RCODES.refused;
}

function deny(reason: Reason): Judged {
  return { action: "deny", reason, rule: undefined };
}

/** Browsers ask for HTTPS records beside addresses, and get none. */
const LOOKUPS: ReadonlySet<number> = new Set([TYPES.A, TYPES.AAAA, TYPES.HTTPS, TYPES.SVCB]);
