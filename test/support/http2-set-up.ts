// What the tests of HTTP/2 with sandboxes stand on, one a file: a proxy before one origin that speaks HTTP/1.1 over TLS and keeps what
// it gets. Each test finds the origin as it was at first, and sees the records of its own alone.

import type { TLSSocket } from "node:tls";
import { afterAll, beforeEach, expect } from "vitest";
import { type AuditRecord, exchanges, settled } from "./audit-records.ts";
import { Frames } from "./http2-frames.ts";
import { type Client, http2Client, type TunnelOptions, tunnelTls } from "./http2.ts";
import { createCa, type Issued } from "./pki.ts";
import {
  answerRequests,
  type Behaviour,
  OK,
  recordingOrigin,
  type RecordingOrigin,
} from "./recording-origin.ts";
import { runSallyport, type RunningSallyport } from "./sallyport.ts";
import { trustFile } from "./trust-file.ts";

type Rest = {
  /** Keys of sallyport.yaml besides those below, `upstream` and `policies`. */
  readonly top?: string;
  /** Whose the policy is. */
  readonly who?: string;
  /** `default`; everything at origin.test. */
  readonly policy?: string;
};
type Options = Rest & {
  /** Hosts that resolve to the origin; its certificate names them. */
  readonly names?: readonly string[];
  /** Of the origin, as each test begins. */
  readonly behaviour?: Behaviour;
};
/** Another proxy. */
type Through = Pick<RunningSallyport, "port" | "trustAnchor">;
type Exchange = ReturnType<typeof exchanges>[number];

export type Http2SetUp = {
  readonly certificate: Issued;
  readonly origin: RecordingOrigin;
  readonly proxy: RunningSallyport;
  /** The origin's. */
  readonly authority: string;
  /** The proxy's configuration, or another's that stands before the same origin. */
  yaml(rest?: Rest): string;
  /** TLS inside a tunnel. */
  tls(alpn?: readonly string[]): Promise<TLSSocket>;
  /** The same, HTTP/2 written frame by frame. */
  frames(settings?: Buffer): Promise<Frames>;
  /** The same, with Node's own client. */
  client(
    authority?: string,
    more?: { readonly through?: Through; readonly headers?: string },
  ): Promise<Client>;
  /** As each test begins: the origin as at first, and nothing on record. */
  begin(): Promise<void>;
  /** What has come on record since, once `enough` holds of it. */
  recorded(enough?: (records: AuditRecord[]) => boolean): Promise<AuditRecord[]>;
  /** What was asked inside tunnels since, once there are so many and all are over. */
  requests(least?: number): Promise<Exchange[]>;
  /** Why connections were ended since, once one was. */
  malformed(): Promise<unknown[]>;
  /** Resolves once the proxy has nothing open on either side. */
  nothingOpen(): Promise<void>;
};

/** An origin's answer behind which it closes: no test finds the idle connections of another. */
export const LONE = OK.replace("\r\n", "\r\nConnection: close\r\n");

export async function http2SetUp(options: Options = {}): Promise<Http2SetUp> {
  const { names = ["origin.test"], behaviour = answerRequests(() => LONE) } = options;
  const ca = createCa();
  const certificate = ca.issue({ names });
  const origin = await recordingOrigin(certificate);
  const trust = await trustFile(ca);
  const yaml: Http2SetUp["yaml"] = (rest) => yamlOf({ ...options, ...rest }, trust, names);
  const proxy = await runSallyport(yaml());
  const inside = `origin.test:${origin.port}`;
  let before = 0;
  const begin = async (): Promise<void> => {
    before = (await proxy.recorded(settled)).length;
    origin.behave(behaviour);
    origin.reset();
  };
  beforeEach(begin);
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await origin[Symbol.asyncDispose]();
  });

  const tunnel: TunnelOptions = { authority: inside, trustAnchor: proxy.trustAnchor };
  const recorded: Http2SetUp["recorded"] = async (enough = settled) =>
    (await proxy.recorded((all) => enough(all.slice(before)))).slice(before);
  return {
    certificate,
    origin,
    proxy,
    authority: inside,
    yaml,
    tls: (alpn) => tunnelTls(proxy.port, { ...tunnel, ...(alpn && { alpn }) }),
    frames: (settings) => Frames.open(proxy.port, tunnel, settings),
    client: (authority = inside, { through: { port, trustAnchor } = proxy, headers = "" } = {}) =>
      http2Client(port, { authority, trustAnchor, headers }),
    recorded,
    begin,
    async requests(least = 1) {
      const enough = (all: readonly AuditRecord[]): boolean => {
        const here = asked(all);
        return here.length >= least && here.every(({ completions }) => completions === 1);
      };
      return asked(await recorded(enough));
    },
    async malformed() {
      const ended = (all: readonly AuditRecord[]): AuditRecord[] =>
        all.filter(({ type, kind }) => type === "decision" && kind === "malformed");
      return ended(await recorded((all) => ended(all).length > 0)).map(({ reason }) => reason);
    },
    nothingOpen: () => expect.poll(async () => (await proxy.metrics()).match(OPEN)).toBeNull(),
  };
}

const asked = (all: readonly AuditRecord[]): Exchange[] =>
  exchanges(all).filter(({ decision }) => decision["kind"] !== "connect");

function yamlOf(
  { top = "", who = "anonymous: default", policy = ANY }: Rest,
  trust: string,
  names: readonly string[],
): string {
  return `
upstream: { trust: [${trust}], hosts: { ${names.map((name) => `${name}: [127.0.0.1]`).join(", ")} } }
${who}
${top}
policies:
  default: ${policy}
`;
}

const ANY = "{ preset: none, methods: all, allow: [{ host: origin.test, networks: [127.0.0.0/8] }] }";
const OPEN = /^sallyport_(?:connections_open|exchanges_in_flight\S*|upstream_connections_open) [^0]/gm;
