// The table of docs/environment.md, from the variables that `sallyport env` prints.

import { VARIABLES } from "../environment/variables.ts";

export function environmentReference(): string {
  const rows = VARIABLES.map(
    ({ names, readBy, meaning }) =>
      `| ${names.map((name) => `\`${name}\``).join(", ")} | ${meaning} | ${readBy} |`,
  );
  return ["| Variable | Value | Who reads it |", "|---|---|---|", ...rows].join("\n");
}
