// An approval as it is stored, and as it is shown: one document for all requests that are alike. What is shown is what the
// decision is about, whole and in one spelling; nothing in it can be made to look like something else.

import { hash } from "node:crypto";
import { type Host, isAddressLiteral, parseHost } from "../net/host.ts";
import type { Body, Document, Write } from "../store/types.ts";
import type { Answer, Asking } from "./asking.ts";
import type { ApprovalView, Labels } from "./types.ts";

export type Approval = ApprovalView & {
  /** What makes requests alike. */
  readonly key: string;
  /** When its sandbox was registered: another one of the same id is another. */
  readonly born: number | undefined;
  /** Some of the requests were held, so that they are who a decision is for. */
  readonly held: boolean;
  /** Of scope `once`: who took it, the requests that waited or the next one; `undefined`: it is still to be had. */
  readonly taken: "held" | "next" | undefined;
};

/** Whose request it is, as the registry knows them. */
export type Asker = {
  readonly born: number | undefined;
  readonly labels: Labels;
};

export function approvalOf({ id, version, body }: Document): Approval {
  return { ...(body as unknown as Omit<Approval, "id" | "version">), id, version };
}

export function bodyOf({ id: _id, version: _version, ...body }: Approval): Body {
  return body;
}

/** In place of the version that it was made from. */
export function writeOf(approval: Approval): Write {
  const { id, version } = approval;
  return { kind: "approval", id, body: bodyOf(approval), version };
}

export function viewOf(approval: Approval, at: number): ApprovalView {
  const { key: _key, born: _born, held: _held, taken: _taken, ...shown } = approval;
  return shown.state === "pending" && shown.expires <= at ? { ...shown, state: "expired" } : shown;
}

/** Requests are alike where all of this is the same; texts are told apart by their places in the list. */
export function keyOf(asking: Asking, { born }: Asker): string {
  const { sandbox, address, policy, method, scheme, host, port, path, query } = asking;
  const whose = sandbox === undefined ? ["address", address] : ["sandbox", sandbox, born ?? 0];
  return digest([whose, policy, method, scheme, host, port, path, query]);
}

/**
 * Made of what it is about, of the last one of its kind and of the hour: who asks at the same time, on another replica, makes the
 * same one, of which the store keeps one.
 */
export function newId(key: string, before: string | undefined, at: number): string {
  return `ap_${digest([key, before ?? "", Math.floor(at / HOUR_MS)])
    .replaceAll(/[-_]/g, "")
    .slice(0, 16)}`;
}

export function newApproval(
  asking: Asking,
  asker: Asker,
  of: { readonly id: string; readonly key: string; readonly at: number; readonly pendingMs: number },
): Approval {
  const { sandbox, address, policy, method, scheme, host, port, path, query, reason } = asking;
  return {
    id: of.id,
    version: 0,
    state: "pending",
    key: of.key,
    sandbox,
    born: asker.born,
    source: sandbox === undefined ? address : undefined,
    labels: asker.labels,
    policy,
    method,
    scheme,
    host,
    port,
    path,
    query: query !== "",
    reason,
    requests: 1,
    held: asking.waitMs > 0,
    askedAt: of.at,
    expires: of.at + of.pendingMs,
    decidedBy: undefined,
    decidedAt: undefined,
    scope: undefined,
    note: undefined,
    taken: undefined,
  };
}

/** What those that wait are told. */
export function answerOf({ id, state, decidedBy, note }: Approval): Answer {
  if (state === "allowed") return { outcome: "allowed", id, by: decidedBy ?? "", because: note ?? "" };
  return state === "denied" ? { outcome: "denied", id, because: note ?? "" } : { outcome: "pending", id };
}

/** What stands in the audit record of what is done with it. */
export function detailsOf(
  { sandbox, source, policy, method, scheme, host, port, path }: Approval,
  { paths }: { readonly paths: boolean },
) {
  const about = { sandbox: sandbox ?? "*", policy, method, scheme, host, port };
  return { ...about, ...(source !== undefined && { source }), ...(paths && { path }) };
}

/** What is not read in one way, or not whole, is not put to anybody; the policy keeps it away, and so does this. */
export function canBeShown({ method, host, path }: Asking): boolean {
  return (
    /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}$/.test(method) &&
    parseHost(host) === host &&
    !isAddressLiteral(host as Host) &&
    path.length <= PATH_MAX &&
    /^[\x21-\x7e]+$/.test(path)
  );
}

function digest(parts: unknown): string {
  return hash("sha256", JSON.stringify(parts), "base64url");
}

const HOUR_MS = 3_600_000;
const PATH_MAX = 1_024;
