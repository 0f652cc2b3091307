// The JSON Schemas of sallyport.yaml and of a requirements file, for editors: what is written, before defaults and readings.

import * as z from "zod";
import { requirementsSchema } from "./requirements-schema.ts";
import { configSchema } from "./schema.ts";

export function configJsonSchema(): Record<string, unknown> {
  return titled("sallyport.yaml", configSchema);
}

export function requirementsJsonSchema(): Record<string, unknown> {
  return titled("requirements.yaml", requirementsSchema);
}

function titled(title: string, schema: z.ZodType): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: "input", override: tidy });
  return { $schema, title, ...rest };
}

/** The bounds of JavaScript's integers say nothing to an editor. */
function tidy({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
}
