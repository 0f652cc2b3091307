// Adds one allow rule to a policy in the text of sallyport.yaml, in the way that an operator would: behind those that are there,
// with a comment that says whose it is. Everything else means what it meant before, or nothing is changed.

import { isDeepStrictEqual } from "node:util";
import { type Document, isMap, isSeq, parseDocument, type YAMLMap, YAMLSeq } from "yaml";
import { hideVariables, showVariables } from "./variables.ts";

export type NewRule = {
  readonly policy: string;
  readonly host: string;
  readonly port: number;
  readonly method: string;
  readonly paths: readonly string[];
  readonly reason: string;
  /** Above the rule. */
  readonly comment: string;
};

export type Appended = { readonly text: string } | { readonly problem: string };

export function appendRule(text: string, rule: NewRule): Appended {
  const hidden = hideVariables(text);
  const before = parse(hidden);
  const document = parse(hidden);
  if (document.errors.length > 0) return { problem: "the file cannot be read as it is" };
  const policy: unknown = document.getIn(["policies", rule.policy], true);
  if (!isMap(policy) || policy.anchor !== undefined)
    return { problem: `the file does not spell out the policy ${rule.policy} in one place` };
  if (!add(document, policy, rule))
    return { problem: `the file does not spell out the allow rules of the policy ${rule.policy}` };
  const written = document.toString({ lineWidth: 0, flowCollectionPadding: true });
  if (!addsOnly(before.toJS() as unknown, parse(written).toJS() as unknown, rule))
    return { problem: "the rule cannot be added without changing something else" };
  return { text: showVariables(written) };
}

function parse(text: string): Document.Parsed {
  return parseDocument(text, {
    prettyErrors: false,
    stringKeys: true,
    resolveKnownTags: false,
    version: "1.2",
    logLevel: "error",
  });
}

/** False where what is there is not a list of its own. */
function add(document: Document.Parsed, policy: YAMLMap, { comment, ...rule }: NewRule): boolean {
  const node = document.createNode(written(rule), { flow: true });
  // Whoever it names must not end the comment.
  node.commentBefore = ` ${comment.replaceAll(/[^\x20-\x7e]/g, "?")}`;
  const allow: unknown = policy.get("allow", true);
  if (allow === undefined) {
    const list = new YAMLSeq();
    list.add(node);
    policy.add(document.createPair("allow", list));
    return true;
  }
  if (!isSeq(allow) || allow.anchor !== undefined) return false;
  allow.add(node);
  return true;
}

function written({ host, port, method, paths, reason }: Omit<NewRule, "comment">) {
  return { host, ports: [port], methods: [method], paths: [...paths], reason };
}

/** An alias that leads to what was changed would change elsewhere, too. */
function addsOnly(before: unknown, after: unknown, { comment: _comment, ...rule }: NewRule): boolean {
  const expected = structuredClone(before) as { policies: Record<string, { allow?: unknown[] }> };
  const policy = expected.policies[rule.policy];
  if (policy === undefined) return false;
  policy.allow = [...(policy.allow ?? []), written(rule)];
  return isDeepStrictEqual(expected, after);
}
