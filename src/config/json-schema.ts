// The JSON Schema of sallyport.yaml, for editors: what is written, before defaults and readings.

import * as z from "zod";
import { configSchema } from "./schema.ts";

export function configJsonSchema(): Record<string, unknown> {
  const { $schema, ...rest } = z.toJSONSchema(configSchema, { io: "input", override: tidy });
  return { $schema, title: "sallyport.yaml", ...rest };
}

/** The bounds of JavaScript's integers say nothing to an editor. */
function tidy({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
}
