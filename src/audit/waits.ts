// Waits that the log is made of: the end of a turn of the event loop, and work with a bound.

export function turnsEnd(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

export function withinMs(ms: number, work: Promise<true>): Promise<unknown> {
  const bound = Promise.withResolvers<unknown>();
  const timer = setTimeout(() => bound.resolve(new Error(`not closed within ${ms} ms`)), ms);
  work.then(bound.resolve, bound.resolve);
  return bound.promise.finally(() => clearTimeout(timer));
}
