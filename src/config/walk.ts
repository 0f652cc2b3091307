// Ways through a zod schema without parsing: what lies under a key, which keys there are, what the default is.

import * as z from "zod";

export type Schema = z.core.$ZodType;

/** The schemas that a value may be parsed with, less their wrappers: optional, default, transform, union. */
export function branches(schema: Schema): Schema[] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) {
    return branches(schema.def.innerType);
  }
  if (schema instanceof z.ZodPipe) return branches(schema.def.in);
  if (schema instanceof z.ZodUnion) return schema.def.options.flatMap(branches);
  return [schema];
}

/** What is parsed at a key or an index of what `schema` parses. */
export function childOf(schema: Schema, segment: string | number): Schema[] {
  return branches(schema).flatMap((branch) => {
    if (branch instanceof z.ZodObject) {
      const child = Object.hasOwn(branch.shape, segment) ? branch.shape[segment] : undefined;
      return child === undefined ? [] : [child];
    }
    if (branch instanceof z.ZodRecord) return [branch.def.valueType];
    return branch instanceof z.ZodArray ? [branch.def.element] : [];
  });
}

export function keysOf(schemas: readonly Schema[]): string[] {
  return schemas
    .flatMap(branches)
    .flatMap((branch) => (branch instanceof z.ZodObject ? Object.keys(branch.shape) : []));
}
