// Renders the records' schema for people (the tables in docs/audit.md) and for machines (docs/audit-record.schema.json).

import { z } from "zod";
import { auditRecord } from "./schema.ts";

type Property = {
  readonly description?: string;
  readonly type?: string;
  readonly const?: string | number;
  readonly enum?: readonly string[];
  readonly maxLength?: number;
  readonly items?: Property;
  readonly properties?: Readonly<Record<string, Property>>;
};
type RecordSchema = {
  readonly description?: string;
  readonly properties: Readonly<Record<string, Property>>;
  readonly required?: readonly string[];
};

export function auditRecordJsonSchema(): Record<string, unknown> {
  const { $schema, ...schema } = z.toJSONSchema(auditRecord, { override: tidy }) as Record<string, unknown>;
  return { $schema, title: "Sallyport audit record, version 1", ...schema };
}

/** The bounds of JavaScript's integers say nothing to a reader. */
function tidy({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
}

/** One table of the fields that all records have, and one for each type of record. */
export function renderAuditReference(): string {
  const all = auditRecordJsonSchema()["oneOf"] as readonly RecordSchema[];
  const common = Object.keys(all[0]?.properties ?? {}).filter(
    (name) => name !== "type" && all.every((one) => name in one.properties),
  );
  const first = all[0] as RecordSchema;
  const parts = [`### Every record\n\n${table(first, common)}`];
  for (const one of all) {
    const own = Object.keys(one.properties).filter((name) => name !== "type" && !common.includes(name));
    const type = one.properties["type"]?.const ?? "";
    parts.push(`### \`${type}\`\n\n${one.description ?? ""}\n\n${table(one, own)}`);
  }
  return parts.join("\n\n");
}

function table({ properties, required = [] }: RecordSchema, names: readonly string[]): string {
  const rows = names.map((name) => {
    const property = properties[name] ?? {};
    const presence = required.includes(name) ? "always" : "where it applies";
    return [`\`${name}\``, kindOf(name, property), presence, property.description ?? ""];
  });
  const all = [["Field", "Value", "Present", "Meaning"], ...rows];
  // Padded as the formatter pads, so that formatting the document changes nothing.
  const widths = [0, 1, 2, 3].map((column) => Math.max(...all.map((cells) => cells[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(" | ")} |`;
  const [head = "", ...body] = all.map(line);
  return [head, line(widths.map((width) => "-".repeat(width))), ...body].join("\n");
}

function kindOf(name: string, property: Property): string {
  const { type, const: literal, enum: values, maxLength, items, properties } = property;
  if (literal !== undefined) return `\`${literal}\``;
  if (name === "reason") return "a [reason](reasons.md)";
  if (values !== undefined) return values.map((value) => `\`${value}\``).join(", ");
  if (items !== undefined) return `list of ${kindOf("", items)}`;
  if (properties !== undefined)
    return `object: ${Object.keys(properties)
      .map((key) => `\`${key}\``)
      .join(", ")}`;
  if (type === "string" && maxLength !== undefined) return `string, at most ${maxLength}`;
  return type ?? "object";
}
