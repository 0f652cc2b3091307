// The references of sallyport.yaml and of a requirements file, for docs/: one table of every key, its type, its default, its meaning.

import { configJsonSchema, requirementsJsonSchema } from "./json-schema.ts";

/** What is read here of JSON Schema. */
type Node = {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: string | number | boolean;
  readonly enum?: readonly (string | number | boolean)[];
  readonly anyOf?: readonly Node[];
  readonly items?: Node;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Node | boolean;
};

export function configReference(): string {
  return tableOf(configJsonSchema());
}

export function requirementsReference(): string {
  return tableOf(requirementsJsonSchema());
}

function tableOf(schema: Record<string, unknown>): string {
  const rows = rowsOf(schema as Node, "").map((row) => `| ${row.map(escapeCell).join(" | ")} |`);
  return ["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
}

type Row = readonly [key: string, type: string, fallback: string, meaning: string];

function rowsOf(node: Node, prefix: string): Row[] {
  return Object.entries(node.properties ?? {}).flatMap(([key, child]) => {
    const full = `${prefix}${key}`;
    const required = node.required?.includes(key) === true;
    const row: Row = [`\`${full}\``, typeOf(child), defaultOf(child, required), child.description ?? ""];
    return [row, ...below(child, full)];
  });
}

/** The keys inside a mapping, a list of mappings (`[]`) or a mapping by name (`<name>`). */
function below(node: Node, prefix: string): Row[] {
  const branches = node.anyOf ?? [node];
  // A mapping or a list of such mappings has the same keys.
  const either = branches.some(({ properties }) => properties !== undefined);
  return branches.flatMap((branch) => {
    if (either && branch.items !== undefined) return [];
    if (branch.properties !== undefined) return rowsOf(branch, `${prefix}.`);
    if (branch.items !== undefined) return below(branch.items, `${prefix}[]`);
    return typeof branch.additionalProperties === "object"
      ? below(branch.additionalProperties, `${prefix}.<name>`)
      : [];
  });
}

function typeOf(node: Node): string {
  if (node.anyOf !== undefined) return [...new Set(node.anyOf.map(typeOf))].join(" or ");
  if (node.const !== undefined) return `\`${node.const}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(", ");
  if (node.items !== undefined) return `list of ${plural(typeOf(node.items))}`;
  if (node.type === "object") return "mapping";
  return node.title ?? node.type ?? "any";
}

function plural(type: string): string {
  return PLURALS[type] ?? type;
}

function defaultOf(node: Node, required: boolean): string {
  if (required) return "required";
  if (node.default === undefined) return "absent";
  const text = JSON.stringify(node.default);
  // A mapping's defaults stand with its keys.
  return text === "{}" ? "" : `\`${text.replaceAll('"', "")}\``;
}

function escapeCell(cell: string): string {
  return cell.replaceAll("|", "\\|");
}

const PLURALS: Record<string, string> = {
  string: "strings",
  integer: "integers",
  mapping: "mappings",
  path: "paths",
  network: "networks",
  "IP address": "IP addresses",
};
