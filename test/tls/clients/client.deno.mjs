// Connects to each name through one address and verifies with rustls. Prints "NAME ok" or "NAME refused: why".

const [address, caFile, ...names] = Deno.args;
const [hostname, port] = address.split(":");
const caCerts = [await Deno.readTextFile(caFile)];
for (const name of names) {
  const raw = await Deno.connect({ hostname, port: Number(port) });
  const verdict = await verify(raw, name).catch((error) => `refused: ${error.message}`);
  await Deno.stdout.write(new TextEncoder().encode(`${name} ${verdict}\n`));
}

async function verify(raw, name) {
  const secured = await Deno.startTls(raw, { hostname: name, caCerts });
  try {
    await secured.handshake();
  } finally {
    secured.close();
  }
  return "ok";
}
