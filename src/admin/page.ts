// Long lists come in pages: each names where the next begins.

import * as z from "zod";

export const PAGE_QUERY = {
  limit: z.coerce.number().int().min(1).max(1_000).prefault(100),
  after: z.string().max(128).optional().describe("The `next` of the page before."),
};

export function pageSchema(item: z.ZodType) {
  return z.strictObject({ items: z.array(item), next: z.string().nullable() });
}

export type Page = { readonly limit: number; readonly after?: string | undefined };

/** In the order of ids, which stays as things come and go. */
export function pageOf<View extends { readonly id: string }, Item>(
  views: readonly View[],
  { limit, after }: Page,
  present: (view: View) => Item,
): { items: Item[]; next: string | null } {
  const rest = views.filter(({ id }) => after === undefined || id > after);
  const page = rest.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit);
  return { items: page.map(present), next: rest.length > limit ? (page.at(-1)?.id ?? null) : null };
}
