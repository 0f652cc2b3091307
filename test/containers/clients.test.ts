// Every client that agents use, in a container behind the wall: an allowed download, a refused host and a refused method, and what
// the person sees, which becomes docs/clients.md.

import { createSocket } from "node:dgram";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeContainers } from "../support/containers.ts";
import { DOWNLOAD } from "./clients/files-origin.ts";
import { openPlace, type Place } from "./clients/place.ts";
import { type Asked, ROWS, type Row } from "./clients/rows.ts";
import { renderClients, type Said, shortened } from "./clients/table.ts";

describeContainers("clients behind the wall", () => {
  let place: Place;
  const said = new Map<string, Said>();

  beforeAll(async () => {
    place = await openPlace(ROWS.map(away));
  }, 300_000);
  afterAll(() => place?.[Symbol.asyncDispose](), 60_000);

  /** In a home of the row's own. */
  function ask({ at }: Row, line: string): ReturnType<Place["shell"]> {
    const set = `export AT=${at} AWAY=${at}.attacker.example:$PORT HOME=/root/${at}`;
    return place.shell(`${set}; mkdir -p $HOME; cd $HOME; ${line}`);
  }
  /** What it said that the table shows. */
  async function shown(row: Row, { line, shows }: Asked, fails: boolean): Promise<string> {
    const { code, seen } = await ask(row, line);
    expect(seen).toMatch(shows);
    if (!fails) expect(code, seen).toBe(0);
    return shortened(seen, shows) ?? "";
  }

  describe("each", () => {
    test.concurrent.each(ROWS)("$name", async (row) => {
      const { at, prepare, download, refusedHost, refusedMethod } = row;
      if (prepare !== undefined) expect(await ask(row, prepare)).toMatchObject({ code: 0 });
      await shown(row, download, false);
      const words: Said = { refusedHost: await shown(row, refusedHost, true) };
      const denied = (await place.recorded((all) => all.some(({ host }) => host === away(row)))).filter(
        ({ host, verdict }) => host === away(row) && verdict !== undefined,
      );
      expect(new Set(denied.map(({ verdict, reason }) => `${String(verdict)} ${String(reason)}`))).toEqual(
        new Set(["deny host-not-allowed"]),
      );
      if (refusedMethod !== undefined) {
        words.refusedMethod = await shown(row, refusedMethod, true);
        const { reason = "method-not-allowed", path = at } = refusedMethod;
        await place.recorded((all) =>
          all.some((record) => record["reason"] === reason && String(record["path"]).includes(path)),
        );
      }
      said.set(at, words);
    });
  });

  test("the set-up script of Debian leads there what knows of no proxy, and Java trusts", async () => {
    const { address, recorded } = place;
    const shell = await place.sandbox("led", ["--cap-add", "NET_ADMIN"]);
    const setUp = `curl -fsS --proxy http://${address}:3128 http://sallyport.internal/setup/debian | sh -s -- ${address}`;
    // The second time it only says the same again.
    for (const line of [setUp, setUp]) expect(await shell(line)).toMatchObject({ code: 0 });
    const seen = async (line: string): Promise<string> => (await shell(line)).seen;
    expect(await seen("env | grep -i -e proxy -e ssl -e cert")).toBe("");
    expect(await seen("curl -sS https://origin.test/led/download")).toBe(DOWNLOAD);
    const java = "java -XX:TieredStopAtLevel=1 -cp /tmp Fetch GET https://origin.test/led/java/download";
    expect(await seen(`javac -d /tmp /programs/Fetch.java && ${java}`)).toBe(DOWNLOAD.repeat(2));
    expect(await shell("apt-get update -qq")).toEqual({ code: 0, seen: "" });
    expect(await seen("curl -sS -d the-code https://origin.test/led/sent")).toMatch(
      /reason: {2}method-not-allowed/,
    );
    expect(await seen("curl -sS https://led.attacker.example/")).toMatch(/Could not resolve host/);
    const ways = (await recorded((all) => all.some(({ path }) => path === "/led/sent")))
      .filter(({ type, path }) => type === "decision" && String(path).startsWith("/led/"))
      .map(({ way }) => way);
    expect(new Set(ways)).toEqual(new Set(["transparent"]));
  });

  test("the doctor tests gem and cargo, and says what they lack", async () => {
    const only = "mkdir /tmp/only; for each in sh $TOOLS; do ln -s $(command -v $each) /tmp/only/$each; done";
    const tools =
      "bash cargo cat cp cut dd env gem grep head mkdir mktemp od rm ruby sed sort tail timeout tr";
    await place.shell(`TOOLS='${tools}'; ${only}; curl -fsS http://sallyport.internal/doctor -o /tmp/doctor`);
    const consult = async (set: string) =>
      (await place.shell(`env ${set} PATH=/tmp/only sh /tmp/doctor`)).seen;
    const works = (client: string) => `ok    ${client}: reaches the proxy, trusts its CA`;
    const whole = await consult("");
    for (const client of ["cargo", "gem"]) expect(whole).toContain(works(client));
    const lacking = await consult("-u CARGO_HTTP_CAINFO -u SSL_CERT_FILE");
    expect(lacking).toMatch(/^FIX {3}cargo: does not trust the CA[^]*export CARGO_HTTP_CAINFO=/m);
    expect(lacking).toMatch(/^FIX {3}gem: does not trust the CA[^]*export SSL_CERT_FILE=/m);
  });

  test("the proxy's container is no router between its networks", async () => {
    const { address, gateway } = place;
    const outside = createSocket("udp4");
    const arrived: string[] = [];
    outside.on("message", (text) => void arrived.push(text.toString()));
    await new Promise<void>((resolve) => void outside.bind(0, gateway, resolve));
    const shell = await place.sandbox("routed", ["--cap-add", "NET_ADMIN"]);
    const send = `import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); [s.sendto(b"the-code", ("${gateway}", ${outside.address().port})) for _ in range(3)]`;
    // Datagrams need no answer: this way out is open where the kernel forwards, though no connection is to be had over it.
    expect(
      await shell(
        `ip route add default via ${address} && curl -sS -m 4 http://${gateway}/; python3 -c '${send}'`,
      ),
    ).toMatchObject({
      code: 0,
      seen: expect.stringMatching(/timed out|unreachable|Failed to connect/) as string,
    });
    outside.close();
    expect(arrived).toEqual([]);
  });

  test("nothing that was refused arrived anywhere", () => {
    expect(place.attacker.connections).toBe(0);
    expect(place.files.requests.filter((request) => !/^(?:GET|HEAD|UPGRADE) /.test(request))).toEqual([]);
    expect(place.git.requests.filter(({ line }) => line.includes("receive-pack"))).toEqual([]);
  });

  test("docs/clients.md is what they said", async () => {
    await expect(renderClients(ROWS, said)).toMatchFileSnapshot(DOCUMENT);
  });
});

const away = ({ at }: Row): string => `${at}.attacker.example`;
const DOCUMENT = fileURLToPath(new URL("../../docs/clients.md", import.meta.url));
