// Sandboxes that are registered while the proxy runs, by one process and by several: let in by their secret, moved and ended at
// once, with all that they have open.

import type { Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Actor } from "../../src/registry/types.ts";
import { dialPort, type Wire } from "../proxy/wire.ts";
import { createCa, type Issued } from "../support/pki.ts";
import { recordingOrigin, type RecordingOrigin } from "../support/recording-origin.ts";
import { runSallyport, type RunningSallyport } from "../support/sallyport.ts";
import { trustFile } from "../support/trust-file.ts";

const RUNTIME: Actor = { name: "token:runner", role: "runtime", from: "127.0.0.1:1" };
const OPERATOR: Actor = { name: "token:olga", role: "operator", from: "127.0.0.1:1" };

let ca: Issued;
let plain: RecordingOrigin;

beforeAll(async () => {
  ca = createCa();
  plain = await recordingOrigin();
  plain.behave(stream);
});
afterAll(() => plain[Symbol.asyncDispose]());

/** Begins an answer that goes on. */
function stream(socket: Socket): void {
  socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello"));
}

const basic = (id: string, secret: string): string => Buffer.from(`${id}:${secret}`).toString("base64");

async function configuration(more: string): Promise<string> {
  return `${more}
upstream: { trust: [${await trustFile(ca)}], hosts: { one.test: [127.0.0.1], two.test: [127.0.0.1] } }
limits: { drain: 1s }
policies:
  setup: { preset: none, methods: all, allow: [${rule("one.test")}, ${rule("two.test")}] }
  agent: { preset: none, methods: all, allow: [${rule("two.test")}] }
sandboxes: [{ id: filed, secret: its-own-secret-of-24-char, policy: { setup: setup, agent: agent }, phase: setup }]
`;
}
const rule = (host: string): string => `{ host: ${host}, networks: [127.0.0.0/8] }`;

describe.each([
  { name: "one process", more: "" },
  { name: "two workers", more: "workers: 2" },
])("$name", ({ more }) => {
  let proxy: RunningSallyport;
  beforeAll(async () => {
    proxy = await runSallyport(await configuration(more));
  }, 60_000);
  afterAll(() => proxy[Symbol.asyncDispose]());

  async function begin(host: string, credentials: string): Promise<Wire> {
    const wire = await dialPort(proxy.port);
    const authority = `${host}:${plain.port}`;
    wire.write(
      `GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: Basic ${credentials}\r\n\r\n`,
    );
    await wire.until(() => wire.all.endsWith("hello") || / 4\d\d /.test(wire.all));
    return wire;
  }
  const statusOf = (wire: Wire): string => wire.all.slice(9, 12);

  async function statusFor(host: string, credentials: string): Promise<string> {
    await using wire = await begin(host, credentials);
    return statusOf(wire);
  }

  const registration = (id: string) => ({
    id,
    policies: { setup: "setup", agent: "agent" },
    phase: "setup" as const,
    labels: { task: "42" },
  });

  test("is let in by its secret in every process, and by nothing near it", async () => {
    const { secret } = await proxy.sallyport.control.register(RUNTIME, registration("near"));
    for (let turn = 0; turn < 8; turn++)
      expect(await statusFor("one.test", basic("near", secret))).toBe("200");
    for (const wrong of [secret.slice(0, -1), `${secret}x`, "x", secret.toUpperCase()])
      expect(await statusFor("one.test", basic("near", wrong))).toBe("407");
    expect(await statusFor("one.test", basic("far", secret))).toBe("407");
    const records = await proxy.records();
    expect(JSON.stringify(records)).not.toContain(secret);
    // Each worker's decisions stand in a chain of its own.
    if (more !== "") return;
    expect(records).toContainEqual(
      expect.objectContaining({ type: "decision", sandbox: "near", labels: { task: "42" }, phase: "setup" }),
    );
  });

  test("the move to agent cuts what that phase does not allow, and nothing else", async () => {
    const { secret } = await proxy.sallyport.control.register(RUNTIME, registration("moving"));
    const credentials = basic("moving", secret);
    await using one = await begin("one.test", credentials);
    await using two = await begin("two.test", credentials);
    expect([statusOf(one), statusOf(two)]).toEqual(["200", "200"]);
    await proxy.sallyport.control.move(RUNTIME, "moving", "agent");
    await one.until(() => false);
    expect(await statusFor("one.test", credentials)).toBe("403");
    expect(await statusFor("two.test", credentials)).toBe("200");
    expect(two.closed || two.ended).toBe(false);
  });

  test("its end cuts everything, and its secret opens nothing", async () => {
    const { secret } = await proxy.sallyport.control.register(RUNTIME, registration("ending"));
    const credentials = basic("ending", secret);
    await using two = await begin("two.test", credentials);
    expect(statusOf(two)).toBe("200");
    await proxy.sallyport.control.end(RUNTIME, "ending", "done");
    await two.until(() => false);
    expect(await statusFor("two.test", credentials)).toBe("407");
  });

  test("a sandbox of the file moves too, and a reload keeps what was said of both", async () => {
    const { control } = proxy.sallyport;
    const { secret } = await control.register(RUNTIME, registration("kept"));
    const filed = basic("filed", "its-own-secret-of-24-char");
    expect(await statusFor("one.test", filed)).toBe("200");
    await control.move(OPERATOR, "filed", "agent");
    expect(await statusFor("one.test", filed)).toBe("403");
    expect(await proxy.reconfigure(`${await configuration(more)}\n# the same\n`)).toBe(true);
    expect(await statusFor("one.test", filed)).toBe("403");
    expect(await statusFor("one.test", basic("kept", secret))).toBe("200");
    await control.move(OPERATOR, "filed", "setup");
    expect(await statusFor("one.test", filed)).toBe("200");
  });

  test("every action stands in the audit chain", async () => {
    const notes = await proxy.recorded((all) => all.some(({ type }) => type === "control"));
    expect(notes.filter(({ type }) => type === "control").length).toBeGreaterThan(0);
  });
});
