// The key `listen`: where sandboxes connect, and which listeners are one sandbox's own. Absence names nobody.

import * as z from "zod";
import { endpoint, path } from "./values.ts";

const EXPECTED = "expected address:port, or a mapping with the key address or socket";

const named = z
  .strictObject(
    {
      address: endpoint.optional().describe("`address:port`; port 0 takes a free one."),
      socket: path.optional().describe("Path of a Unix socket, in place of an address."),
      mode: z
        // YAML reads 0660 as the number 660.
        .union([z.enum(["0600", "0660", "0666"]), z.literal([600, 660, 666])], "expected 0600, 0660 or 0666")
        .optional()
        .describe("Who may connect to the socket: its owner (0600, the default), its group, or anybody."),
      sandbox: z
        .string()
        .optional()
        .describe("Id of the sandbox whose connections these are alone: it needs no credentials here."),
    },
    EXPECTED,
  )
  .superRefine(({ address, socket, mode }, context) => {
    if ((address === undefined) === (socket === undefined))
      context.addIssue({ code: "custom", message: "expected one of the keys address and socket" });
    if (mode !== undefined && address !== undefined)
      context.addIssue({ code: "custom", path: ["mode"], message: "only a socket has a mode" });
  });

const one = z.union([endpoint.transform((address) => ({ address })), named], EXPECTED);

export const listen = z
  .union(
    [
      one.transform((only) => [only]),
      z.array(one).min(1, "expected at least one address:port").max(1_000, "expected at most 1000 listeners"),
    ],
    "expected address:port, or a list of them",
  )
  .prefault(["127.0.0.1:3128"])
  .describe("Where sandboxes connect: `address:port` or a list, also of mappings; port 0 takes a free one.");

type Parsed = z.output<typeof named> | { readonly address: { readonly host: string; readonly port: number } };

export function listenersOf(parsed: readonly Parsed[]) {
  return parsed.flatMap((entry) =>
    entry.address === undefined
      ? []
      : [{ ...entry.address, sandbox: "sandbox" in entry ? entry.sandbox : undefined }],
  );
}

export function socketsOf(parsed: readonly Parsed[], absolute: (path: string) => string) {
  return parsed.flatMap((entry) => {
    if (!("socket" in entry) || entry.socket === undefined) return [];
    const { socket, mode = "0600", sandbox } = entry;
    return [{ path: absolute(socket), mode: Number.parseInt(String(mode), 8), sandbox }];
  });
}
