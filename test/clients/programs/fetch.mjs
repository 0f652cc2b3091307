// fetch.mjs METHOD URL [BODY]: Node's own fetch; the environment alone says which proxy and which CA.

const [method, url, body] = process.argv.slice(2);
const answer = await fetch(url, { method, body });
process.stdout.write(await answer.text());
if (!answer.ok) process.exitCode = 1;
