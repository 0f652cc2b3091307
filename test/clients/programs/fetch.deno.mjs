// fetch.deno.mjs METHOD URL [BODY]: Deno's fetch, which verifies with rustls; the environment alone says which proxy and which CA.

const [method, url, body] = Deno.args;
const answer = await fetch(url, { method, body });
await answer.body?.pipeTo(Deno.stdout.writable);
if (!answer.ok) Deno.exit(1);
