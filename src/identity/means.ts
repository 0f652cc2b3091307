// By what a sandbox is known, and which of it counts: the first that says anything, as long as nothing else says otherwise.
// Two that name different sandboxes are never a choice.

/** In the order in which they count. */
export const MEANS = ["listener", "certificate", "credentials", "source"] as const;
export type Means = (typeof MEANS)[number];

/** Whom each names; `null`: somebody it does not know; absent: it says nothing. */
export type Claims<Who> = { readonly [means in Means]?: Who | null | undefined };

export type Agreed<Who> =
  | { readonly ok: true; readonly who: Who; readonly by: Means }
  /** Nothing says anything: whoever has no credentials. */
  | { readonly ok: true; readonly who: undefined; readonly by: "anonymous" }
  | { readonly ok: false; readonly wrong: Means; readonly against: Means | undefined };

export function agree<Who>(claims: Claims<Who>): Agreed<Who> {
  let first: { readonly who: Who; readonly by: Means } | undefined;
  for (const by of MEANS) {
    const who = claims[by];
    if (who === undefined) continue;
    if (who === null) return { ok: false, wrong: by, against: undefined };
    if (first === undefined) first = { who, by };
    else if (first.who !== who) return { ok: false, wrong: by, against: first.by };
  }
  return first === undefined ? { ok: true, who: undefined, by: "anonymous" } : { ok: true, ...first };
}
