// What the two sides of an HTTP/2 connection tell each other beforehand (RFC 9113 §6.5).

import {
  CODE,
  type ErrorCode,
  FLAG,
  type Frame,
  MAX_WINDOW,
  SETTING,
  settings,
} from "../net/http2-frames.ts";
import type { Limits } from "../net/limits.ts";

/** Octets of a body that a sandbox may send ahead: on a stream, and on all of a connection's together. */
export const STREAM_WINDOW = 128 * 1024;
export const CONNECTION_WINDOW = 512 * 1024;

export function ourSettings({ streams, headOctets }: Limits, extendedConnect: boolean): Buffer {
  return settings(
    [SETTING.streams, streams],
    [SETTING.window, STREAM_WINDOW],
    [SETTING.headerList, headOctets],
    ...(extendedConnect ? [[SETTING.extendedConnect, 1] as const] : []),
  );
}

export type TheirSettings = {
  /** What each of their streams may be sent at first. */
  readonly window: number | undefined;
};

/** What is wrong with it, or what of it concerns us: the rest bounds what is never sent. */
export function readSettings({ flags, payload, stream }: Frame): TheirSettings | ErrorCode {
  if (stream !== 0) return CODE.protocol;
  if ((flags & FLAG.ack) !== 0) return payload.length === 0 ? { window: undefined } : CODE.frameSize;
  if (payload.length % 6 !== 0) return CODE.frameSize;
  let window: number | undefined;
  for (let at = 0; at < payload.length; at += 6) {
    const id = payload.readUInt16BE(at);
    const value = payload.readUInt32BE(at + 2);
    if (id === SETTING.push && value > 1) return CODE.protocol;
    if (id === SETTING.frameSize && (value < 16_384 || value > 16_777_215)) return CODE.protocol;
    if (id === SETTING.extendedConnect && value > 1) return CODE.protocol;
    if (id === SETTING.window) {
      if (value > MAX_WINDOW) return CODE.flowControl;
      window = value;
    }
  }
  return { window };
}
