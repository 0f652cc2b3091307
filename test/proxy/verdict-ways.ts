// Every way into the proxy, put together of what stands before its door, the door, and what is spoken inside; and one case of the
// list of verdicts, asked over one of them.

import { connect, isIP } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { Frames, type HttpAnswer } from "../support/http2-frames.ts";
import { frame } from "../support/http2-octets.ts";
import type { RunningSallyport } from "../support/sallyport.ts";
import { textHeader } from "../support/ways/proxy-header.ts";
import { socks5 } from "../support/ways/socks5.ts";
import type { Case } from "./verdict-cases.ts";
import { Wire } from "./wire.ts";

export type Way = {
  readonly name: string;
  /** Also the name of its policy. */
  readonly sandbox: "limited" | "open" | "spliced";
  /** Behind a balancer that says so. */
  readonly balancer: boolean;
  /** TLS to the proxy itself. */
  readonly tls: boolean;
  readonly door: "absolute" | "connect" | "socks5" | "redirected";
  readonly inside: "http" | "https" | "http2";
  readonly spliced: boolean;
  readonly upgrade: boolean;
  /** Of the origin, besides TLS where that is inside. */
  readonly origin: "http/1.1" | "h2";
  /** More lines of configuration. */
  readonly yaml: string;
};

type Shape = Omit<Way, "name" | "sandbox" | "yaml">;

const DOORS = ["absolute", "connect", "socks5", "redirected"] as const;
const INSIDE = ["http", "https", "http2"] as const;
const EITHER = [false, true] as const;

/** Everything that could be put together, whether it is a way or not. */
const SHAPES: readonly Shape[] = EITHER.flatMap((balancer) =>
  EITHER.flatMap((tls) =>
    DOORS.flatMap((door) =>
      INSIDE.flatMap((inside) =>
        EITHER.flatMap((spliced) =>
          EITHER.flatMap((upgrade) =>
            (["http/1.1", "h2"] as const).map((origin) => ({
              balancer,
              tls,
              door,
              inside,
              spliced,
              upgrade,
              origin,
            })),
          ),
        ),
      ),
    ),
  ),
);

/** Why there is no such way, or none that differs from another. */
function noWay({ balancer, tls, door, inside, spliced, upgrade, origin }: Shape): string | undefined {
  if (door === "absolute" && inside !== "http") return "what is inside has no door of its own";
  if (door === "connect" && inside === "http") return "refused as not-tls: tunnels.test.ts";
  if (door === "redirected" && tls) return "TLS there is the origin's: transparent.test.ts";
  if (spliced && inside === "http") return "what is not TLS is never spliced";
  if (spliced && (inside !== "https" || upgrade || origin === "h2")) return "what is spliced is not read";
  if (origin === "h2" && inside === "http") return "HTTP/2 is spoken to origins over TLS alone";
  if (origin === "h2" && upgrade) return "an upgrade goes by HTTP/1.1: http2-upstream.test.ts";
  if (!balancer && !tls) return undefined;
  // What stands before a door is done with before anything inside it begins.
  if (upgrade || origin === "h2") return "judged behind the same door without a balancer or TLS before it";
  if (door === "socks5" && inside !== "http") return "judged behind socks5 alone, and as http behind this";
  return undefined;
}

function wayOf(shape: Shape): Way {
  const { balancer, tls, door, inside, spliced, upgrade, origin } = shape;
  const word = spliced ? "spliced" : inside === "https" ? "intercepted" : inside;
  const parts = [balancer && "balancer", tls && "tls", door, word, upgrade && "websocket"];
  return {
    ...shape,
    name: [...parts, origin === "h2" && "origin by http2"].filter((part) => part !== false).join(", "),
    sandbox: spliced ? "spliced" : upgrade ? "open" : "limited",
    yaml: upgrade && inside === "http2" ? "http2: always" : "",
  };
}

export const WAYS: readonly Way[] = SHAPES.filter((shape) => noWay(shape) === undefined).map(wayOf);
/** Why the others are none, each reason with how many it is of. */
export const NO_WAYS: readonly string[] = [...Map.groupBy(SHAPES, noWay)].flatMap(([why, shapes]) =>
  why === undefined ? [] : [`${shapes.length} of ${SHAPES.length} (${why})`],
);

/** Something is opened first, in which the request is then made. */
export const tunnelled = ({ door, inside }: Way): boolean =>
  door === "connect" || door === "socks5" || (door === "redirected" && inside !== "http");

/** How it was told: by an answer, by a SOCKS5 reply code (none: at the credentials), or in TLS. */
export type Told = HttpAnswer | number | undefined | Error;
export type Sent = { readonly told: Told; readonly atDoor: boolean };

export type Asking = {
  readonly proxy: RunningSallyport;
  readonly way: Way;
  readonly originPort: number;
  /** What origins' certificates are issued by. */
  readonly ca: string;
  readonly pseudonym: string;
};

const basic = (text: string): string => Buffer.from(text).toString("base64");
export const credentialsOf = (id: string): string => basic(`${id}:${id}-secret`);
/** As an address literal is written in a name's place. */
export const isLiteral = (host: string): boolean => host.startsWith("[") || isIP(host) !== 0;

export async function send(asking: Asking, one: Case): Promise<Sent> {
  const { way, proxy } = asking;
  const host = one.host ?? "origin.test";
  const ports = { proxy: proxy.port, admin: proxy.adminPort, origin: asking.originPort };
  const port = one.port?.(ports) ?? ports.origin;
  const question: Question = {
    ...asking,
    one,
    host,
    port,
    authority: `${host}:${port}`,
    fill: (text) =>
      text
        .replaceAll("{pseudonym}", asking.pseudonym)
        .replaceAll("{right}", credentialsOf(way.sandbox))
        .replaceAll("{wrong}", basic(`${way.sandbox}:another-secret`)),
  };
  const outer = await arrive(question);
  try {
    const refused = await openDoor(question, outer);
    if (refused !== undefined) return { ...refused, atDoor: true };
    if (way.inside === "http") return { told: await ask(question, outer), atDoor: false };
    const inner = await secure(outer, trusting(question));
    if (inner instanceof Error) return { told: inner, atDoor: way.door === "redirected" };
    const told = await (way.inside === "http2" ? askHttp2(question, inner) : ask(question, inner));
    inner.socket.destroy();
    return { told, atDoor: false };
  } finally {
    for (const end of outer.ends) end.destroy();
  }
}

type Question = Asking & {
  readonly one: Case;
  readonly host: string;
  readonly port: number;
  readonly authority: string;
  fill(text: string): string;
};
type Outer = Wire & { ends: { destroy(): void }[] };

async function arrive({ proxy, way }: Question): Promise<Outer> {
  const port = way.door === "redirected" ? (proxy.sallyport.transparent[0]?.port ?? 0) : proxy.port;
  const localAddress = way.balancer ? BALANCER : "127.0.0.1";
  const socket = connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: true, noDelay: true });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("error", reject);
  });
  if (way.balancer) socket.write(textHeader(BALANCED));
  const plain = new Wire(socket);
  if (!way.tls) return Object.assign(plain, { ends: [socket] });
  const secured = await secure(plain, { ca: proxy.trustAnchor, servername: "proxy.test" });
  if (secured instanceof Error) throw secured;
  return Object.assign(secured, { ends: [secured.socket, socket] });
}

/** Undefined where it is open. */
async function openDoor(question: Question, wire: Wire): Promise<{ told: Told } | undefined> {
  const { way, one, host, port, authority, fill } = question;
  if (way.door === "connect") {
    wire.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${fieldsOf(question)}\r\n`);
    const answer = await wire.answer("CONNECT");
    return answer.status === 200 ? undefined : { told: answer };
  }
  if (way.door !== "socks5") return undefined;
  const given = /Basic (\S+)/.exec(fill(one.credentials ?? RIGHT))?.[1];
  const code = await socks5(wire, {
    host,
    port,
    ...(given !== undefined && { credentials: Buffer.from(given, "base64").toString() }),
  });
  return code === 0 ? undefined : { told: code };
}

const fieldsOf = ({ one, fill }: Question): string => fill(one.credentials ?? RIGHT);

function trusting({ way, one, host, proxy, ca }: Question): ConnectionOptions {
  // Where the leaf is for an address, or for nothing, its name is not what is asked here.
  const named = isLiteral(host) || /^[\d.]+$/.test(host);
  const nameless = named && (way.door !== "redirected" || isLiteral(host));
  return {
    ca: way.spliced ? ca : proxy.trustAnchor,
    ...(nameless
      ? { checkServerIdentity: () => undefined }
      : { servername: one.sni ?? (named ? host : host.replace(/\.$/, "")) }),
    ALPNProtocols: way.inside === "http2" ? ["h2"] : ["http/1.1"],
  };
}

async function secure(outer: Wire, tls: ConnectionOptions): Promise<Wire | Error> {
  outer.socket.removeAllListeners("data");
  const secured = connectTls({ socket: outer.socket, ...tls });
  const failed = await new Promise<Error | undefined>((resolve) => {
    secured.once("secureConnect", () => resolve(undefined));
    secured.on("error", resolve);
    secured.once("close", () => resolve(new Error("closed")));
  });
  return failed ?? new Wire(secured);
}

function linesOf({ one, fill }: Question): string {
  const { headers = "", body = "" } = one;
  const length = body === "" || headers.includes("chunked") ? "" : `Content-Length: ${body.length}\r\n`;
  return fill(headers) + length;
}

async function ask(question: Question, wire: Wire): Promise<HttpAnswer> {
  const { way, one, authority } = question;
  const { method = "GET", path = "/", body = "" } = one;
  const proxied = way.door === "absolute";
  const named = proxied ? authority : one.targetField;
  const scheme = way.inside === "http" ? "http" : "https";
  const target = named === undefined ? path : `${scheme}://${named}${path}`;
  const upgrade = way.upgrade ? UPGRADE : "";
  wire.write(
    `${method} ${target} HTTP/1.1\r\nHost: ${one.hostField ?? authority}\r\n${
      proxied ? fieldsOf(question) : ""
    }${upgrade}${linesOf(question)}\r\n${body}`,
  );
  return wire.answer(method);
}

async function askHttp2(question: Question, wire: Wire): Promise<HttpAnswer> {
  const { way, one, authority } = question;
  const { method = "GET", path = "/", body = "" } = one;
  const lines = linesOf(question).split("\r\n");
  const fields = lines
    .filter((line) => line !== "")
    .map((line) => {
      const [name = "", ...value] = line.split(": ");
      return [name.toLowerCase(), value.join(": ")] as const;
    });
  const host = one.hostField === undefined ? [] : [["host", one.hostField] as const];
  using frames = Frames.over(wire, one.targetField ?? authority);
  const open = way.upgrade || body !== "";
  const asked = way.upgrade
    ? { ":method": "CONNECT", ":path": path, ":protocol": "websocket" }
    : { ":method": method, ":path": path };
  const version = way.upgrade ? [["sec-websocket-version", "13"] as const] : [];
  frames.headers(1, [...frames.request(asked), ...version, ...host, ...fields], open ? 4 : 5);
  if (body !== "") frames.send(frame(0, 1, 1, body));
  const answer = await frames.answer(1);
  // The origin has ended the WebSocket; so does the sandbox.
  if (way.upgrade && answer.status === 200) {
    frames.send(frame(0, 1, 1));
    await frames.ping();
  }
  return answer;
}

/** Whose PROXY header is believed, and whose connection it says it is. */
export const BALANCER = "127.0.0.2";
export const BALANCED = "198.51.100.7";
const RIGHT = "Proxy-Authorization: Basic {right}\r\n";
const UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
