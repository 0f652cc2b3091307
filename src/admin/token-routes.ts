// The API's routes of tokens, and of who asks.

import * as z from "zod";
import * as present from "./present.ts";
import { ADMINS, EVERYBODY, type Route, route } from "./route.ts";
import { CREATED_TOKEN, NEW_TOKEN, TOKEN, WHOAMI } from "./schemas.ts";

export const TOKEN_ROUTES: readonly Route[] = [
  route({
    method: "GET",
    path: "/v1/whoami",
    roles: EVERYBODY,
    summary: "Who the proxy takes you for",
    success: { status: 200, is: "Name, role and address, as records tell them.", schema: WHOAMI },
    run: ({ actor }) => actor,
  }),
  route({
    method: "GET",
    path: "/v1/tokens",
    roles: ADMINS,
    summary: "List API tokens, never their secrets",
    success: { status: 200, is: "All of them.", schema: z.strictObject({ items: z.array(TOKEN) }) },
    run: ({ control }) => ({ items: control.tokens().map(present.token) }),
  }),
  route({
    method: "POST",
    path: "/v1/tokens",
    roles: ADMINS,
    summary: "Create a token: its secret is told once",
    body: NEW_TOKEN,
    success: { status: 201, is: "The token and its secret.", schema: CREATED_TOKEN },
    async run({ actor, control, body }) {
      const { token, secret } = await control.createToken(actor, body);
      return { token: present.token(token), secret };
    },
  }),
  route({
    method: "DELETE",
    path: "/v1/tokens/{id}",
    roles: ADMINS,
    summary: "Revoke a token",
    success: { status: 204, is: "It opens nothing any more." },
    run: ({ actor, control, params: { id = "" } }) => control.revokeToken(actor, id),
  }),
];
